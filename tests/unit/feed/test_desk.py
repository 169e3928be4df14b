"""Tokens of the demo: good for its gateways, and only what was asked for."""

import json
from typing import Any

import jwt
import pytest

from livebalance.feed.token_endpoint import AUDIENCE, ISSUER, LONGEST, TokenEndpoint
from tests.tokens import SECRET

DESK = TokenEndpoint(SECRET)


def claims(body: bytes) -> dict[str, Any]:
    status, kind, answer = DESK.post(body)
    assert (status, kind) == (200, "application/json")
    found: dict[str, Any] = jwt.decode(
        json.loads(answer)["token"], SECRET, ["HS256"], audience=AUDIENCE, issuer=ISSUER
    )
    return found


def test_who_asks_for_nothing_gets_everything() -> None:
    found = claims(b"")
    assert found["accounts"] == ["*"]
    assert found["exp"] - found["iat"] == LONGEST
    assert found["sub"] != claims(b"{}")["sub"]


def test_who_asks_for_less_gets_less() -> None:
    found = claims(b'{"accounts":["EU-*"],"seconds":5,"subject":"me"}')
    assert (found["accounts"], found["exp"] - found["iat"], found["sub"]) == (["EU-*"], 5, "me")


@pytest.mark.parametrize(
    "body",
    [
        b"x",
        b"[]",
        b'{"accounts":"*"}',
        b'{"accounts":[1]}',
        b'{"seconds":0}',
        b'{"seconds":99999}',
        b'{"subject":1}',
    ],
)
def test_what_cannot_be_given_is_a_problem(body: bytes) -> None:
    status, kind, _ = DESK.post(body)
    assert (status, kind) == (400, "application/problem+json")
