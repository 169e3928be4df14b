"""A symmetric key that a URL publishes is known to everyone, so it verifies no token."""

import asyncio
import contextlib

import jwt

from tests.integration.gateway.conftest import StartGateway
from tests.integration.gateway.test_auth import Issuer, reason
from tests.integration.gateway.websocket_client import WebSocketClient
from tests.tokens import claims
from tests.unit.gateway.keys import EC_KEY, public_jwk

SECRET = "a secret that everyone can read at the URL"


def published_secret() -> dict[str, str]:
    return {"kty": "oct", "kid": "secret", "k": jwt.utils.base64url_encode(SECRET.encode()).decode()}


async def test_token_signed_with_a_published_secret_is_rejected(start_gateway: StartGateway) -> None:
    issuer, payload = Issuer(), claims(iss="bank", aud="balances")
    issuer.keys = [published_secret(), public_jwk(EC_KEY, "public")]
    server = await asyncio.start_server(issuer.answer, "127.0.0.1", 0)
    address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/keys"
    with contextlib.closing(server):
        gateway = await start_gateway(
            demo_secret=None, jwks_url=address, token_issuer="bank", token_audience="balances"
        )
        valid = jwt.encode(payload, EC_KEY, "ES256", {"kid": "public"})
        async with WebSocketClient(gateway.ws, token=valid) as client:
            await client.until(lambda: client.of_type("welcome"))
        for header in ({"kid": "secret"}, None):
            forged = jwt.encode(payload, SECRET, "HS256", header)
            async with WebSocketClient(gateway.ws, token=forged) as client:
                await client.until(lambda: client.of_type("welcome") or client.closed)
                assert client.closed, "the forged token was accepted"
                assert reason(client.closed) == (4501, "unauthenticated")
