"""Keys of a test issuer, their JSON Web Key Set, and tokens signed with them."""

import json
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.tokens import claims

RSA_KEY = rsa.generate_private_key(65537, 2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
FOREIGN_KEY = rsa.generate_private_key(65537, 2048)
_PUBLIC_PEM = RSA_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def public_jwk(key: Any, key_id: str) -> dict[str, Any]:
    algorithms = jwt.algorithms
    kind = algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else algorithms.ECAlgorithm
    return {**json.loads(kind.to_jwk(key.public_key())), "kid": key_id}


KEY_SET = {"keys": [public_jwk(RSA_KEY, "rsa-1"), public_jwk(EC_KEY, "ec-1")]}


def encode(key: Any, algorithm: str, key_id: str | None, **changed: Any) -> str:
    return jwt.encode(claims(**changed), key, algorithm, {"kid": key_id} if key_id else None)


def signed_with_the_public_key() -> str:
    """Signed by HS256 with a public key's text: valid if the token could choose the algorithm."""
    header, body = (part.rstrip("=") for part in encode("x" * 32, "HS256", "rsa-1").split(".")[:2])
    text = f"{header}.{body}".encode()
    signature = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(
        text, _PUBLIC_PEM.encode()
    )
    return f"{header}.{body}.{jwt.utils.base64url_encode(signature).decode()}"
