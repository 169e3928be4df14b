"""Types of settings, and the words that describe each type to an operator."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field, SecretStr, WithJsonSchema
from pydantic_settings import NoDecode

from livebalance.runtime.redis.url import RedisUrl
from livebalance.wire.signature import MIN_SECRET_LENGTH

Seconds = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Port = Annotated[int, Field(ge=0, le=65535)]

_HOST = r"(\[[0-9A-Fa-f:.]+\]|[^\s,:\[\]]+)(:\d{1,5})?"
HostPortList = Annotated[
    str, Field(pattern=rf"^{_HOST}(,\s*{_HOST})*$", examples=["kafka-1:9092,kafka-2:9092"])
]


def _check_scheme(*schemes: str) -> Callable[[SecretStr], SecretStr]:
    def check(url: SecretStr) -> SecretStr:
        if not url.get_secret_value().startswith(tuple(f"{scheme}://" for scheme in schemes)):
            raise ValueError
        return url

    return check


def _check_redis_url(url: SecretStr) -> SecretStr:
    try:
        RedisUrl.parse(url.get_secret_value())
    except ValueError:
        raise ValueError from None
    return url


def _example(example: str) -> Any:
    return Field(examples=[example])


def _check_postgres_url(url: SecretStr) -> SecretStr:
    """Checks the hosts. The driver's error would contain a part of the password."""
    try:
        hosts = urlsplit(url.get_secret_value()).netloc.rpartition("@")[2]
        for host in hosts.split(","):
            _ = urlsplit(f"//{host}").port
    except ValueError:
        raise ValueError from None
    return url


# URLs are secrets, because each can contain a password.
SecretPostgresUrl = Annotated[
    SecretStr,
    AfterValidator(_check_scheme("postgresql", "postgres")),
    AfterValidator(_check_postgres_url),
    _example("postgresql://host:5432/database"),
]
SecretRedisUrl = Annotated[SecretStr, AfterValidator(_check_redis_url), _example("redis://host:6379/0")]
SecretHttpUrl = Annotated[SecretStr, AfterValidator(_check_scheme("http", "https")), _example("https://host")]


def _check_length(secret: SecretStr) -> SecretStr:
    if len(secret.get_secret_value()) < MIN_SECRET_LENGTH:
        raise ValueError(f"should have at least {MIN_SECRET_LENGTH} characters")
    return secret


SigningSecret = Annotated[SecretStr, AfterValidator(_check_length)]


def _decode_json(value: object) -> object:
    try:
        return json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        raise ValueError from None


TextList = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_decode_json)]
_DATE_TIME_SCHEMA = {"type": "string", "format": "date-time", "examples": ["2026-01-01T00:00:00Z"]}
DateTime = Annotated[AwareDatetime, WithJsonSchema(_DATE_TIME_SCHEMA)]

_TYPES = {
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "array": 'a JSON list such as ["one","two"]',
}
_FORMATS = {"date-time": "a time with a UTC offset", "path": "a path"}


def describe_type(schema: Mapping[str, Any]) -> str:
    """Returns the values that a setting's JSON Schema allows, in words: "a whole number from 0 to 65535"."""
    if "anyOf" in schema:
        return _join_choices([describe_type(each) for each in schema["anyOf"] if each.get("type") != "null"])
    if choices := schema.get("enum", [schema["const"]] if "const" in schema else []):
        return _join_choices(choices)
    if schema.get("type") == "string":
        noun = "a URL" if _is_url(schema) else _FORMATS.get(schema.get("format", ""), "text")
        return f"{noun} such as {schema['examples'][0]}" if "examples" in schema else noun
    return f"{_TYPES[str(schema.get('type'))]}{_describe_range(schema)}"


def _join_choices(choices: Sequence[str]) -> str:
    *first, last = choices
    return f"{', '.join(first)} or {last}" if first else last


def environment_text(value: object) -> str:
    """Returns a setting's value as an environment variable has it. Secrets are shown; None becomes ""."""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, bool | list | tuple):
        return json.dumps(value)
    return "" if value is None else str(value)


def is_secret(schema: Mapping[str, Any]) -> bool:
    """Returns whether a setting's JSON Schema marks a secret."""
    return any(each.get("writeOnly") for each in (schema, *schema.get("anyOf", ())))


def _is_url(schema: Mapping[str, Any]) -> bool:
    return any("://" in example for example in schema.get("examples", ()))


def _describe_range(schema: Mapping[str, Any]) -> str:
    minimum, maximum, above = (schema.get(word) for word in ("minimum", "maximum", "exclusiveMinimum"))
    if maximum is not None:
        return f" from {minimum} to {maximum}"
    if above is not None:
        return f" above {above:g}"
    return "" if minimum is None else f", {minimum:g} or more"
