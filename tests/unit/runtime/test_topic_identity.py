"""The version of the metadata request that a broker gets."""

from livebalance.runtime.kafka.topic_identity import _MetadataRequest


def test_metadata_request_uses_ids_if_the_broker_knows_them() -> None:
    assert _MetadataRequest(["transfers"]).prepare({3: (0, 13)}).API_VERSION == 10


def test_metadata_request_to_a_broker_without_ids_omits_them() -> None:
    assert _MetadataRequest(["transfers"]).prepare({3: (0, 8)}).API_VERSION == 5
