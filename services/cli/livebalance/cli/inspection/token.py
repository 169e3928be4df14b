"""`livebalance token`: makes a token of the demo or of a key, and shows what a token says."""

import json
import secrets
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import jwt
import typer

from livebalance.cli.errors import UserError, from_os
from livebalance.cli.options import AsJson
from livebalance.cli.table import print_json, print_table
from livebalance.stack.paths import StatePaths
from livebalance.stack.secret import existing_demo_secret
from livebalance.wire.timestamp import Millis, format_rfc3339

_MAX_SECONDS = 30 * 86400  # docs/protocol.md#authentication-and-authorization
_REQUIRED = ("exp", "iat", "sub", "aud", "iss", "accounts")
_LEEWAY_SECONDS = 60  # that a gateway allows for clocks that differ
_INVALID = 3  # exit code

app = typer.Typer(help="Make tokens, and show what a token says.", no_args_is_help=True)

KeyFile = Annotated[
    Path | None,
    typer.Option("--key", metavar="FILE", help="JSON Web Key. By default the secret of the demo."),
]


@app.callback()
def token() -> None:
    """Make tokens, and show what a token says."""


@app.command()
def mint(  # noqa: PLR0917 - each parameter is an option of the command
    account: Annotated[
        list[str], typer.Option(help="Account, or prefix such as 'EU-*', or '*' for all. Can be repeated.")
    ],
    subject: Annotated[str, typer.Option(help="User (claim sub).")] = "operator",
    seconds: Annotated[int, typer.Option(min=1, max=_MAX_SECONDS, help="Time until it expires.")] = 3600,
    issuer: Annotated[str, typer.Option(help="Claim iss.")] = "livebalance-demo",
    audience: Annotated[str, typer.Option(help="Claim aud.")] = "livebalance",
    key: KeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Make a token and print it. Gateways accept it if they know the key: the demo's, or a key in JWKS."""
    now = int(time.time())
    claims = {
        "iss": issuer,
        "aud": audience,
        "sub": subject,
        "sid": secrets.token_hex(8),
        "iat": now,
        "exp": now + seconds,
        "accounts": account,
    }
    signing, kid = _key(key)
    try:
        made = jwt.encode(claims, signing.key, signing.algorithm_name, {"kid": kid} if kid else None)
    except (jwt.PyJWTError, TypeError, ValueError) as cause:
        raise UserError(f"{key}: this key signs no tokens: {cause}") from cause
    if as_json:
        print_json({"token": made, "claims": claims})
    else:
        typer.echo(made)


@app.command()
def inspect(
    text: Annotated[
        str, typer.Argument(metavar="TOKEN", help="The token; - reads it from standard input.")
    ] = "-",
    key: KeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Show the header and the claims of a token, and why a gateway would reject it.

    Without --key and without a demo on this machine the signature is not checked.

    Exit code 0: no defect; 3: a gateway would reject it.
    """
    compact = (sys.stdin.readline() if text == "-" else text).strip().removeprefix("Bearer ")
    try:
        header = jwt.get_unverified_header(compact)
        claims: dict[str, Any] = jwt.decode(compact, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError) as cause:
        raise UserError(f"not a token: {cause}") from cause
    defects = _defects(claims, time.time())
    signature = _signature(compact, key)
    if signature == "invalid":
        defects.append("the signature is not of this key")
    if as_json:
        print_json({"header": header, "claims": claims, "signature": signature, "defects": defects})
    else:
        rows = [*header.items(), *((name, _readable(name, value)) for name, value in claims.items())]
        print_table(("field", "value"), [*rows, ("signature", signature)])
        for defect in defects:
            typer.echo(f"A gateway rejects it: {defect}.")
    raise typer.Exit(_INVALID if defects else 0)


def _defects(claims: dict[str, Any], now: float) -> list[str]:
    defects = [f"the claim {name} is missing" for name in _REQUIRED if name not in claims]
    times = [claims.get(name) for name in ("iat", "exp")]
    issued, expires = (value if isinstance(value, int | float) else None for value in times)
    if expires is not None and expires + _LEEWAY_SECONDS < now:
        defects.append(f"it expired {now - expires:,.0f} s ago")
    if issued is not None and expires is not None and expires - issued > _MAX_SECONDS:
        defects.append("it is valid for more than 30 days")
    if "accounts" in claims and not isinstance(claims["accounts"], list | str):
        defects.append("the claim accounts is neither a list nor a text")
    return defects


def _signature(compact: str, path: Path | None) -> str:
    """Returns `valid`, `invalid` or `not checked`."""
    if path is None and existing_demo_secret(StatePaths.from_environment()) is None:
        return "not checked"
    key, _ = _key(path)
    try:
        options = {"verify_exp": False, "verify_aud": False, "verify_iat": False, "verify_nbf": False}
        jwt.decode(compact, key.key, algorithms=[key.algorithm_name], options=options)  # type: ignore[arg-type]
    except jwt.PyJWTError:
        return "invalid"
    return "valid"


def _key(path: Path | None) -> tuple[jwt.PyJWK, str | None]:
    """Returns a key and its id. Raises UserError."""
    if path is None:
        secret = existing_demo_secret(StatePaths.from_environment())
        if secret is None:
            raise UserError("no key to sign with: give --key, or start the demo (make up)")
        encoded = jwt.utils.base64url_encode(secret.encode()).decode()
        return jwt.PyJWK({"kty": "oct", "k": encoded, "alg": "HS256"}), "demo"
    try:
        fields = json.loads(path.read_text())
        return jwt.PyJWK(fields), fields.get("kid")
    except OSError as cause:
        raise from_os(cause) from cause
    except jwt.PyJWTError:  # its text may have the whole key
        raise UserError(f"{path} is not a JSON Web Key with a kty, crv and alg that sign tokens") from None
    except (ValueError, TypeError, AttributeError) as cause:
        raise UserError(f"{path} is not a JSON Web Key: {cause}") from cause


def _readable(name: str, value: object) -> object:
    if name in ("iat", "exp", "nbf") and isinstance(value, int):
        with suppress(OverflowError):  # no time of a calendar
            return f"{value} ({format_rfc3339(Millis(value * 1000))})"
    return value
