"""The command that writes transfers to Kafka."""
