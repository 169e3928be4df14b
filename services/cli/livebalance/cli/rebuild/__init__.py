"""`livebalance rebuild`: replays Kafka beside the projection, compares both, and replaces what differs."""
