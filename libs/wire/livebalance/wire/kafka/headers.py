"""Encodes the headers of a Kafka record as bytes, to keep them in the quarantine.

The encoding is MessagePack: an array of pairs of a name (bin) and a value (bin or nil). Kafka checks neither,
so both are any bytes.
"""

from collections.abc import Sequence

from msgspec import DecodeError as _MessagePackError
from msgspec import msgpack

from livebalance.wire.errors import DecodeError

Headers = Sequence[tuple[bytes, bytes | None]]  # in the order of the record; names may repeat

_decoder = msgpack.Decoder(tuple[tuple[bytes, bytes | None], ...])


def encode_headers(headers: Headers) -> bytes:
    """Returns headers in MessagePack."""
    return msgpack.encode(headers)


def decode_headers(encoded: bytes) -> Headers:
    """Returns headers that `encode_headers` has encoded.

    Raises:
        DecodeError: `encoded` is not such an array.
    """
    try:
        return _decoder.decode(encoded)
    except _MessagePackError as cause:
        raise DecodeError("not headers in MessagePack") from cause
