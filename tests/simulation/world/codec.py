"""The codec of the product, which decodes each value once: all read the same records."""

from functools import lru_cache

from livebalance.wire.kafka import codec
from livebalance.wire.kafka.codec import Codec, PlainCodec

_decoded = lru_cache(256)

JSON: Codec = PlainCodec(
    _decoded(codec.JSON.decode_transfer),
    _decoded(codec.JSON.decode_balance),
    codec.JSON.encode_transfer,
    codec.JSON.encode_balance,
)
