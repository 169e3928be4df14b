"""`livebalance metrics` as an operator types it."""

from livebalance.stack.place import PROJECT
from tests.integration.cli.operator import said


async def test_the_page_is_what_the_services_count() -> None:
    found = await said({}, "metrics", "docs")
    assert (found.code, found.err) == (0, "")
    assert found.out == (PROJECT / "docs" / "metrics.md").read_text()
