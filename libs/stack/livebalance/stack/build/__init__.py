"""Downloads and builds: Kafka's jars, Node, the page."""
