"""Keys that tokens are checked with: those of the settings, and those published at a URL."""

import asyncio
from collections.abc import Iterable, Iterator
from typing import Any

import httpx
import jwt
from jwt import PyJWK

from livebalance.runtime import logs

EVERY = 600.0  # seconds between reads of a URL
SOON = 10.0  # seconds between them when a key is missing, or the URL could not be read
WITHIN = 5.0  # seconds for one read
LARGEST = 256 * 1024  # bytes
SHORTEST_SECRET = 32  # bytes (RFC 7518, 3.2)

_ALGORITHMS = {"oct": "HS256", "RSA": "RS256", "EC": "ES256"}
_log = logs.get("keys")


class JwksCache:
    """`own` never change; `url` is where others are. `run` serves until it is cancelled.

    One key is for one algorithm: a public key is never taken for a secret.
    """

    def __init__(self, own: Iterable[PyJWK], url: str | None) -> None:
        self._own = tuple(own)
        self._url = url
        self._published: tuple[PyJWK, ...] = ()
        self._missing = asyncio.Event()
        self._read_at: float | None = None  # when the URL was last read

    @property
    def ready(self) -> bool:
        """There are keys to check with."""
        return self._url is None or self._read_at is not None

    def named(self, id_: object, algorithm: object) -> Iterator[PyJWK]:
        """Those a token may be signed with that names this key (or none) and this algorithm."""
        for key in (*self._own, *self._published):
            if key.algorithm_name == algorithm and (id_ is None or id_ == key.key_id):
                yield key

    def may_come(self, now: float) -> bool:
        """Whether a key that is not here may be at the URL by now: it is read again soon then."""
        if self._url is None or (self._read_at is not None and now < self._read_at + SOON):
            return False
        self._missing.set()
        return True

    async def run(self) -> None:
        if self._url is None:
            return
        # Of the environment SSL_CERT_FILE and SSL_CERT_DIR count, a proxy does not.
        authorities = httpx.create_ssl_context()
        async with httpx.AsyncClient(timeout=WITHIN, trust_env=False, verify=authorities) as client:
            while True:
                self._missing.clear()
                read = await self._read(client, self._url)
                await asyncio.sleep(SOON if not read else 0)
                if read:
                    await self._until_wanted()

    async def _until_wanted(self) -> None:
        try:
            async with asyncio.timeout(EVERY):
                await self._missing.wait()
        except TimeoutError:
            pass

    async def _read(self, client: httpx.AsyncClient, url: str) -> bool:
        """Whether there was an answer. Without one, the keys known stay."""
        try:
            async with asyncio.timeout(WITHIN):
                answer = (await client.get(url)).raise_for_status()
            if len(answer.content) > LARGEST:
                raise ValueError("too big")
            found = [key for key in keys(answer.json()) if key.key_type != "oct"]
        except (httpx.HTTPError, TimeoutError, ValueError) as reason:
            _log.warning("keys cannot be read", reason=type(reason).__name__)
            return False
        self._published = tuple(found)
        self._read_at = asyncio.get_running_loop().time()
        return True


def keys(key_set: Any) -> list[PyJWK]:
    """Those of a JSON Web Key Set (RFC 7517) that can check a token. Raises ValueError: it is none."""
    if not isinstance(key_set, dict) or not isinstance(key_set.get("keys"), list):
        raise ValueError("not a set of keys")
    return [key for one in key_set["keys"] if isinstance(one, dict) and (key := _key(one))]


def _key(jwk: dict[str, Any]) -> PyJWK | None:
    algorithm = _ALGORITHMS.get(str(jwk.get("kty")))
    if algorithm is None or jwk.get("alg", algorithm) != algorithm or jwk.get("use", "sig") != "sig":
        return None
    try:
        key = PyJWK(jwk, algorithm)
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        return None
    if algorithm == "HS256" and len(key.key) < SHORTEST_SECRET:
        raise ValueError(f"a secret has at least {SHORTEST_SECRET} bytes")
    return key


def secret(text: str, id_: str) -> PyJWK:
    """A shared secret as a key. Raises ValueError for a short one."""
    if len(text.encode()) < SHORTEST_SECRET:
        raise ValueError(f"a secret has at least {SHORTEST_SECRET} bytes")
    encoded = jwt.utils.base64url_encode(text.encode()).decode()
    return PyJWK({"kty": "oct", "k": encoded, "kid": id_}, "HS256")
