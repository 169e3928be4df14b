"""Metrics of the feed."""

from prometheus_client import Counter

records = Counter(
    "livebalance_feed_records", "Transfer records that Kafka has acknowledged, two per transfer."
)
