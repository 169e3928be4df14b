"""`livebalance watch` with a fault: `python -m tests.integration.cli.faulty_client FAULT ACCOUNT…`."""

import sys
from collections.abc import Callable

import pytest

from livebalance.cli.__main__ import main

FAULTS: dict[str, dict[str, Callable[..., object]]] = {
    "forgets its position": {"livebalance.client.channel.encode_position": lambda _: None},
    "returns at once": {
        "livebalance.client.session.delay_after_close": lambda *_: 0.0,
        "livebalance.client.session.should_reconnect": lambda _: True,
    },
}

if __name__ == "__main__":
    for target, fault in FAULTS[sys.argv.pop(1)].items():
        pytest.MonkeyPatch().setattr(target, fault)
    main()
