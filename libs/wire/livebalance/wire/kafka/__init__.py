"""The values of the two Kafka topics."""
