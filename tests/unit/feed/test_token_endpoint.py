"""Demo tokens: valid for the demo's gateways, with the requested rights only."""

import json
from typing import Any

import jwt
import pytest

from livebalance.feed.token_endpoint import AUDIENCE, ISSUER, MAX_SECONDS, TokenEndpoint
from tests.tokens import SECRET

ENDPOINT = TokenEndpoint(SECRET)


def claims(body: bytes) -> dict[str, Any]:
    status, content_type, response = ENDPOINT.post(body)
    assert (status, content_type) == (200, "application/json")
    decoded: dict[str, Any] = jwt.decode(
        json.loads(response)["token"], SECRET, ["HS256"], audience=AUDIENCE, issuer=ISSUER
    )
    return decoded


def test_empty_request_gets_a_token_for_all_accounts() -> None:
    token = claims(b"")
    assert token["accounts"] == ["*"]
    assert token["exp"] - token["iat"] == MAX_SECONDS
    assert token["sub"] != claims(b"{}")["sub"]


def test_request_with_fields_gets_only_those_rights() -> None:
    token = claims(b'{"accounts":["EU-*"],"seconds":5,"subject":"me"}')
    assert (token["accounts"], token["exp"] - token["iat"], token["sub"]) == (["EU-*"], 5, "me")


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
def test_invalid_request_is_answered_with_400(body: bytes) -> None:
    status, content_type, _ = ENDPOINT.post(body)
    assert (status, content_type) == (400, "application/problem+json")
