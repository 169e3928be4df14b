"""What a setting may be: the types that settings share, and how each is said to whoever sets one."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, WithJsonSchema
from pydantic_settings import NoDecode

from livebalance.runtime.redis.url import RedisUrl as Where

Seconds = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Port = Annotated[int, Field(ge=0, le=65535)]

_HOST = r"(\[[0-9A-Fa-f:.]+\]|[^\s,:\[\]]+)(:\d{1,5})?"
Servers = Annotated[str, Field(pattern=rf"^{_HOST}(,\s*{_HOST})*$", examples=["one:9092,other:9092"])]


def _of(*schemes: str) -> Callable[[SecretStr], SecretStr]:
    def check(url: SecretStr) -> SecretStr:
        if not url.get_secret_value().startswith(tuple(f"{scheme}://" for scheme in schemes)):
            raise ValueError
        return url

    return check


def _is_redis(url: SecretStr) -> SecretStr:
    try:
        Where.of(url.get_secret_value())
    except ValueError:
        raise ValueError from None
    return url


def _url(example: str) -> Any:
    return Field(examples=[example])


# URLs with a password in them, perhaps: secrets, all of them.
Postgres = Annotated[
    SecretStr, AfterValidator(_of("postgresql", "postgres")), _url("postgresql://host:5432/database")
]
Redis = Annotated[SecretStr, AfterValidator(_is_redis), _url("redis://host:6379/0")]
Web = Annotated[SecretStr, AfterValidator(_of("http", "https")), _url("https://host")]


def _decoded(given: object) -> object:
    try:
        return json.loads(given) if isinstance(given, str) else given
    except (ValueError, RecursionError):
        raise ValueError from None


Texts = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_decoded)]
Moment = WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-01-01T00:00:00Z"]})

_WORDS = {
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "array": 'a list in JSON, such as ["one","other"]',
}
_TEXTS = {"date-time": "a time with its offset", "path": "a path"}


def said(schema: Mapping[str, Any]) -> str:
    """What the JSON Schema of a setting admits, in words: "a whole number from 0 to 65535"."""
    if "anyOf" in schema:
        return _either([said(one) for one in schema["anyOf"] if one.get("type") != "null"])
    if choices := schema.get("enum", [schema["const"]] if "const" in schema else []):
        return _either(choices)
    kind = schema.get("type")
    if kind == "string":
        word = "a URL" if _is_url(schema) else _TEXTS.get(schema.get("format", ""), "a text")
        return f"{word} such as {schema['examples'][0]}" if "examples" in schema else word
    return f"{_WORDS[str(kind)]}{_range(schema)}"


def _either(words: Sequence[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else last


def written(value: object) -> str:
    """A value as an environment has it, a secret too; nothing for none."""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, bool | list | tuple):
        return json.dumps(value)
    return "" if value is None else str(value)


def is_secret(schema: Mapping[str, Any]) -> bool:
    return any(one.get("writeOnly") for one in (schema, *schema.get("anyOf", ())))


def _is_url(schema: Mapping[str, Any]) -> bool:
    return any("://" in one for one in schema.get("examples", ()))


def _range(schema: Mapping[str, Any]) -> str:
    least, most, above = (schema.get(word) for word in ("minimum", "maximum", "exclusiveMinimum"))
    if most is not None:
        return f" from {least} to {most}"
    if above is not None:
        return f" above {above:g}"
    return "" if least is None else f", {least:g} or more"
