"""The turn of a user who receives streams of transfers one at a time."""

from collections.abc import AsyncIterator

from livebalance.gateway.api.statements import StatementResponse, Turn
from livebalance.wire.views import TransferView


class Writer:
    """Writes the parts of a statement as fixed bytes."""

    media_type = "text/csv"

    def head(self) -> bytes:
        return b"head,"

    def transfers(self, page: list[TransferView]) -> bytes:
        return b"page,"

    def end(self) -> bytes:
        return b"end"


async def two_pages() -> AsyncIterator[list[TransferView]]:
    yield []
    yield []


async def test_turn_ends_after_the_last_part_and_before_the_response_does() -> None:
    turns: dict[str, Turn] = {}
    response = StatementResponse(Writer(), two_pages(), {}, Turn(turns, "alice"))
    parts = []
    async for part in response.body_iterator:
        assert "alice" in turns
        parts.append(part)
    assert (parts, turns) == ([b"head,page,", b"page,", b"end"], {})


def test_turn_of_an_earlier_stream_ends_no_later_one() -> None:
    turns: dict[str, Turn] = {}
    first = Turn(turns, "alice")
    first.end()
    second = Turn(turns, "alice")
    first.end()
    assert turns == {"alice": second}
