"""What each Kafka client of ours needs."""
