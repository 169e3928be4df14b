"""Platforms without embedded servers."""

import platform

import pytest

from livebalance.stack.errors import StackError
from livebalance.stack.paths import check_platform


def test_platform_without_servers_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Plan9")
    with pytest.raises(StackError, match=r"no embedded servers for Plan9 .*LIVEBALANCE_KAFKA") as caught:
        check_platform()
    assert "\n" not in str(caught.value)


def test_this_platform_has_servers() -> None:
    check_platform()
