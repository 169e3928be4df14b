"""Settings, logs, metrics, probes and the Kafka, Redis and schema clients that services share."""
