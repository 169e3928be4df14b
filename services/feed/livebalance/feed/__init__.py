"""Feed: writes random transfers to Kafka, for demos and tests."""
