"""The order of the acceptance tests."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the shortest files last, so that no worker waits a minute for the last file of another."""
    items.sort(key=lambda item: "attacks" in item.path.parts)
