"""The records of the lifecycle topic: openings and erasures of accounts, in a log that nothing compacts.

The key is the account id. The value is a JSON object with exactly the fields below. Amounts are decimal
strings, and offsets are those of the account's partition in the topic that is named by its id:

    {"event":"opened","amount":"100.00"}
    {"event":"erased","transfers_topic":"6f0c2b1e-…","transfers_before":5512,
     "balances_topic":"0d3c…","balances_before":811}

A null on the topic of balances that was written with an `erased` record has a header `erasure` with the form
`<id of the topic of transfers>@<transfers_before>`. Its own offset is `balances_before`.
"""

import re
from typing import NamedTuple
from uuid import UUID

from msgspec import DecodeError as _JsonError
from msgspec import Struct, json

from livebalance.wire.errors import DecodeError
from livebalance.wire.identity import AccountId, Offset
from livebalance.wire.kafka.headers import Headers
from livebalance.wire.money import Money, parse_money

ERASURE = b"erasure"

_MAX_OFFSET = 2**63 - 1
_FORM = re.compile(rb"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})@([0-9]{1,18})")


class Bound(NamedTuple):
    """The records of a partition below the offset `before`."""

    topic_id: UUID
    before: Offset


class Opened(NamedTuple):
    """The account had this balance before its first transfer."""

    account: AccountId
    amount: Money


class Erased(NamedTuple):
    """The transfers and the balances of the account within these bounds are erased."""

    account: AccountId
    transfers: Bound
    balances: Bound


class _Opened(Struct, tag_field="event", tag="opened", forbid_unknown_fields=True):
    amount: str


class _Erased(Struct, tag_field="event", tag="erased", forbid_unknown_fields=True):
    transfers_topic: UUID
    transfers_before: int
    balances_topic: UUID
    balances_before: int


_decoder = json.Decoder(_Opened | _Erased)


def encode_lifecycle(record: Opened | Erased) -> bytes:
    """Returns the value of a record."""
    if isinstance(record, Opened):
        return json.encode(_Opened(str(record.amount)))
    (transfers_topic, transfers), (balances_topic, balances) = record.transfers, record.balances
    return json.encode(_Erased(transfers_topic, transfers, balances_topic, balances))


def decode_lifecycle(account: AccountId, value: bytes) -> Opened | Erased:
    """Returns the record of an account in a value.

    Raises:
        DecodeError: `value` is no such object. The text is kept as the reason in the quarantine.
    """
    try:
        decoded = _decoder.decode(value)
        if isinstance(decoded, _Opened):
            return Opened(account, parse_money(decoded.amount))
    except (_JsonError, DecodeError, UnicodeDecodeError, RecursionError) as cause:
        raise DecodeError("not an opening or erasure in JSON") from cause
    if not all(0 <= offset <= _MAX_OFFSET for offset in (decoded.transfers_before, decoded.balances_before)):
        raise DecodeError("not an offset")
    return Erased(
        account,
        Bound(decoded.transfers_topic, Offset(decoded.transfers_before)),
        Bound(decoded.balances_topic, Offset(decoded.balances_before)),
    )


def encode_erasure_header(transfers: Bound) -> bytes:
    """Returns the value of the header `erasure`."""
    return f"{transfers.topic_id}@{transfers.before}".encode()


def erasure_bound(headers: Headers) -> Bound | None:
    """Returns which transfers a null on the topic of balances erases; None if its headers do not say it."""
    match = _FORM.fullmatch(dict(headers).get(ERASURE) or b"")
    return None if match is None else Bound(UUID(match[1].decode()), Offset(int(match[2])))
