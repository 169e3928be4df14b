"""What a feed shows at /metrics."""

from prometheus_client import Counter

records = Counter("livebalance_feed_records", "Transfer records acknowledged by Kafka, two of each transfer.")
