"""The token in a request's cookies."""

import time

import pytest

from livebalance.gateway.auth.credentials import Credentials

CREDENTIALS = Credentials("live.balance", ())


@pytest.mark.parametrize(
    ("headers", "token"),
    [
        ([], None),
        ([""], None),
        (["theme=dark"], None),
        (["live.balance=a.b-c_d"], "a.b-c_d"),
        (['theme=dark; live.balance="a.b"; x=y'], "a.b"),
        (["theme=dark;live.balance = a.b ;x"], "a.b"),
        (["theme=dark", "live.balance=a"], "a"),
        (["live.balance=a; live.balance=b"], "b"),
        (["live.balance="], ""),
        (["my-live.balance=a; live.balances=a; liveXbalance=a; x=live.balance=a"], None),
        (["\x00;;=; live.balance=a"], "a"),
    ],
)
def test_cookie_has_the_token_of_its_name(headers: list[str], token: str | None) -> None:
    assert CREDENTIALS.cookie(headers) == token


TEXTS = ["\\", '\\"', "\\101", ";", "; ", "a=b;", '"', " ", "live.balance=", ";live.balance"]


@pytest.mark.parametrize("text", TEXTS)
def test_cookies_of_any_text_take_little_time(text: str) -> None:
    """The event loop of a gateway waits meanwhile. With `http.cookies` it waited 0.2 s for a header."""
    header = f'live.balance="{(text * 8000)[:8000]}"'
    taken = []
    for _ in range(5):
        began = time.process_time()
        CREDENTIALS.cookie([header] * 4)
        taken.append(time.process_time() - began)
    assert min(taken) < 0.02
