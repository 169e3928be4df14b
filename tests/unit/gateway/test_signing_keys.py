"""The settings of the keys that must have signed messages from Redis."""

import pytest

from livebalance.gateway.settings import Settings
from livebalance.runtime.config.environment import read_settings
from livebalance.runtime.errors import SettingsError

NEW, OLD = "new secret of this deployment, 2", "old secret of this deployment, 1"


@pytest.fixture(autouse=True)
def _startable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVEBALANCE_DEMO_SECRET", "a secret of at least thirty-two bytes")


@pytest.mark.parametrize(("secrets", "count"), [((), 0), ((NEW,), 1), ((NEW, OLD), 2)])
def test_gateway_accepts_each_key_that_is_set(
    monkeypatch: pytest.MonkeyPatch, secrets: tuple[str, ...], count: int
) -> None:
    for name, secret in zip(("DELTA_KEY", "DELTA_KEY_PREVIOUS"), secrets, strict=False):
        monkeypatch.setenv(f"LIVEBALANCE_{name}", secret)
    assert len(read_settings(Settings).signing_keys()) == count


def test_short_key_is_an_error_that_does_not_repeat_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVEBALANCE_DELTA_KEY", "short")
    with pytest.raises(SettingsError) as error:
        read_settings(Settings)
    assert str(error.value) == "LIVEBALANCE_DELTA_KEY should have at least 32 characters"
