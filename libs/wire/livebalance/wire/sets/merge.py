"""Deltas of a set: how several become one."""

from collections.abc import Sequence

from msgspec import UNSET, json
from msgspec.structs import replace

from livebalance.wire.frame import SetDelta, encode_frame

_decoder = json.Decoder(SetDelta)


def merge_set_deltas(texts: Sequence[bytes]) -> bytes:
    """Returns a single delta frame that replaces the frames `texts`: the newest state of each account.

    Raises:
        ValueError: A frame does not begin at the number where the previous frame ends, or it is a page.
    """
    merged = _decoder.decode(texts[0])
    members = {member.account: member for member in merged.members}
    left = dict.fromkeys(merged.left)
    for text in texts[1:]:
        delta = _decoder.decode(text)
        if delta.from_ != merged.to or merged.lanes is UNSET or delta.lanes is UNSET:
            raise ValueError("deltas with a gap between them cannot be merged")
        for account in delta.left:
            members.pop(account, None)
            left[account] = None
        for member in delta.members:
            members.pop(member.account, None)
            members[member.account] = member
            left.pop(member.account, None)
        merged = replace(
            merged, to=delta.to, epoch=delta.epoch, totals=delta.totals, lanes={**merged.lanes, **delta.lanes}
        )
    return encode_frame(replace(merged, members=list(members.values()), left=list(left)))
