"""Keys that tokens are verified with: from the settings, and from a JSON Web Key Set at a URL (RFC 7517)."""

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

import httpx
import jwt
from jwt import PyJWK
from jwt.algorithms import HMACAlgorithm
from jwt.utils import force_bytes

from livebalance.gateway.auth.unknown_keys import UnknownKeys
from livebalance.gateway.limits.rate import RateLimiter
from livebalance.runtime import logs

REFRESH_SECONDS = 600.0  # between two reads of the URL
RETRY_SECONDS = 10.0  # between two reads on average if keys are missing, and after a read that failed
READ_BURST = (
    3  # reads at once, so that a client with a new key waits for no budget that other clients used up
)
TIMEOUT_SECONDS = 5.0  # of a read
MAX_BYTES = 256 * 1024  # of a key set
MIN_SECRET_BYTES = 32  # RFC 7518 §3.2

_ALGORITHMS = {"oct": "HS256", "RSA": "RS256", "EC": "ES256"}
_PUBLISHED_ALGORITHMS = ("RS256", "ES256")
_log = logs.get("jwks")


class JwksCache:
    """Caches the keys. `own` keys never change; `url` publishes more keys, or is None.

    Each key has one algorithm, so that a public key is never used as a shared secret. `run` serves until it
    is cancelled.
    """

    def __init__(self, own: Iterable[PyJWK], url: str | None) -> None:
        self._own = tuple(own)
        self._url = url
        self._published: tuple[PyJWK, ...] = ()
        self._refresh_requested = asyncio.Event()
        self._has_read = False
        self.generation = 0  # changes whenever the keys may have changed
        self._unknown = UnknownKeys()
        self._budget = RateLimiter(1 / RETRY_SECONDS, READ_BURST)

    @property
    def ready(self) -> bool:
        """Whether the keys at the URL have been read, or there is no URL."""
        return self._url is None or self._has_read

    def matching(self, key_id: object, algorithm: object) -> Iterator[PyJWK]:
        """Yields the keys that may have signed a token with this `kid` (None: any key) and `alg`."""
        for key in (*self._own, *self._published):
            if key.algorithm_name == algorithm and (key_id is None or key_id == key.key_id):
                yield key

    def request_refresh(self, key_id: object, algorithm: object, now: float) -> bool:
        """Requests a read of the URL if it may publish a key that a token names, and returns whether it may.

        All tokens share the budget of reads. A token with a known key needs none, and waits for none.
        """
        if self._url is None or algorithm not in _PUBLISHED_ALGORITHMS:
            return False
        if not self._unknown.must_read(key_id, now):
            return False
        self._refresh_requested.set()
        return True

    async def run(self) -> None:
        """Keeps the published keys up to date."""
        if self._url is None:
            return
        # SSL_CERT_FILE and SSL_CERT_DIR are read from the environment; proxy variables are not.
        ssl_context = httpx.create_ssl_context()
        async with httpx.AsyncClient(timeout=TIMEOUT_SECONDS, trust_env=False, verify=ssl_context) as client:
            loop = asyncio.get_running_loop()
            while True:
                await asyncio.sleep(self._budget.wait(loop.time()))
                self._budget.consume(loop.time(), 1)
                self._refresh_requested.clear()
                began = loop.time()
                if await self._read(client, self._url):
                    self._has_read = True
                    self._unknown.on_read(began)
                    await self._wait_for_refresh()
                else:
                    await asyncio.sleep(RETRY_SECONDS)

    async def _wait_for_refresh(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(REFRESH_SECONDS):
                await self._refresh_requested.wait()

    async def _read(self, client: httpx.AsyncClient, url: str) -> bool:
        """Reads the URL, and returns whether that succeeded. After a failure the known keys stay."""
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                response = (await client.get(url)).raise_for_status()
            if len(response.content) > MAX_BYTES:
                raise ValueError("too big")
            public = [key for key in parse_keys(response.json()) if key.key_type != "oct"]
        except (httpx.HTTPError, TimeoutError, ValueError) as error:
            _log.warning("published keys unavailable", reason=type(error).__name__)
            return False
        self._published = tuple(public)
        self.generation += 1
        return True


def parse_keys(key_set: Any) -> list[PyJWK]:
    """Returns the keys of a JSON Web Key Set that can verify a token (RFC 7517).

    Raises:
        ValueError: Not a key set, or a shared secret in it is too short.
    """
    if not isinstance(key_set, dict) or not isinstance(key_set.get("keys"), list):
        raise ValueError("not a set of keys")
    return [key for jwk in key_set["keys"] if isinstance(jwk, dict) and (key := _parse_key(jwk))]


def _parse_key(jwk: dict[str, Any]) -> PyJWK | None:
    algorithm = _ALGORITHMS.get(str(jwk.get("kty")))
    if algorithm is None or jwk.get("alg", algorithm) != algorithm or jwk.get("use", "sig") != "sig":
        return None
    try:
        key = PyJWK(jwk, algorithm)
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        return None
    return _checked_secret(key) if algorithm == "HS256" else key


def secret_key(secret: str, key_id: str) -> PyJWK:
    """Returns a shared secret as an HS256 key.

    Raises:
        ValueError: The secret is too short.
    """
    encoded = jwt.utils.base64url_encode(secret.encode()).decode()
    return _checked_secret(PyJWK({"kty": "oct", "k": encoded, "kid": key_id}, "HS256"))


class _CheckedHmac(HMACAlgorithm):
    """HS256 with a secret that was checked before. PyJWT checks it for each token, a seventh of its time."""

    def prepare_key(self, key: str | bytes) -> bytes:
        return force_bytes(key)


def _checked_secret(key: PyJWK) -> PyJWK:
    """Returns the key. Raises ValueError if its secret is too short, or is a public key by mistake."""
    if len(key.key) < MIN_SECRET_BYTES:
        raise ValueError(f"a secret has at least {MIN_SECRET_BYTES} bytes")
    try:
        key.Algorithm.prepare_key(key.key)
    except jwt.InvalidKeyError as error:
        raise ValueError("the secret is a public key") from error
    key.Algorithm = _CheckedHmac(HMACAlgorithm.SHA256)
    return key
