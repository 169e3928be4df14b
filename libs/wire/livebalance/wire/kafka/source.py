"""The headers of a balance record that name the transfer record it was made from.

`source` has the form `<topic id>/<partition>@<offset> <fingerprint>`, for instance
`6f0c2b1e-…/3@5512 0f1e…`. Older recorders write `source-offset` only, and other applications write neither.
"""

import hashlib
import re
from typing import NamedTuple

from livebalance.wire.identity import Lane, Offset
from livebalance.wire.kafka.headers import Headers

SOURCE = b"source"
SOURCE_OFFSET = b"source-offset"

_FORM = re.compile(rb"([A-Za-z0-9_-]{1,64})/([0-9]{1,10})@([0-9]{1,18}) ([0-9a-f]{32})")
_OFFSET = re.compile(rb"[0-9]{1,18}")


class Source(NamedTuple):
    """The last transfer record that a balance includes."""

    topic_id: str
    partition: Lane
    offset: Offset  # of the record itself
    fingerprint: bytes

    def encode(self) -> bytes:
        """Returns the value of the header `source`."""
        return f"{self.topic_id}/{self.partition}@{self.offset} {self.fingerprint.hex()}".encode()


def parse_source(header: bytes | None) -> Source | None:
    """Returns the value of a header `source`; None if it is null or malformed."""
    match = _FORM.fullmatch(header or b"")
    if match is None:
        return None
    topic_id, partition, offset, digest = match.groups()
    return Source(
        topic_id.decode(), Lane(int(partition)), Offset(int(offset)), bytes.fromhex(digest.decode())
    )


def source_of(headers: Headers) -> Source | Offset | None:
    """Returns the source that the headers of a balance record name; None if they name none.

    A record that has only `source-offset` has an offset without a topic. If a name is repeated, its last
    header counts.
    """
    values = dict(headers)
    if source := parse_source(values.get(SOURCE)):
        return source
    offset = values.get(SOURCE_OFFSET) or b""
    return Offset(int(offset)) if _OFFSET.fullmatch(offset) else None


def fingerprint(key: bytes | None, value: bytes | None, timestamp: int) -> bytes:
    """Returns a 16-byte hash of a record that differs if a recreated topic has another record in its place.

    `timestamp` is Kafka's, in ms since 1970.
    """
    content = _delimited(key) + _delimited(value) + _delimited(b"%d" % timestamp)
    return hashlib.blake2b(content, digest_size=16).digest()


def _delimited(part: bytes | None) -> bytes:
    return b"\x00" if part is None else b"\x01%d:%b" % (len(part), part)
