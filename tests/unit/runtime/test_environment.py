"""Wrong settings are told all at once, a line each, and without their values."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from livebalance.runtime.config.environment import known_variables, read_settings, service_settings, variable
from livebalance.runtime.config.settings import ServiceSettings
from livebalance.runtime.config.types import is_secret
from livebalance.runtime.errors import SettingsError
from livebalance.stack.paths import PROJECT

SEED = "s33ded"
LINE = re.compile(r"LIVEBALANCE_[A-Z0-9_]+ [^\n\r]+")
SHAPES = {
    (name, field): shape
    for name, kind in service_settings().items()
    for field, shape in kind.model_json_schema()["properties"].items()
}


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is told."""
    for name in [name for name in os.environ if name.startswith("LIVEBALANCE_")]:
        monkeypatch.delenv(name)


def lines(kind: type[ServiceSettings] = ServiceSettings, /, **told: str) -> tuple[str, ...]:
    """What is wrong with an environment."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in told.items():
            patch.setenv(f"LIVEBALANCE_{name}", value)
        try:
            read_settings(kind)
        except SettingsError as wrong:
            return wrong.lines
    return ()


def test_nothing_told_is_nothing_wrong() -> None:
    assert read_settings(ServiceSettings).kafka == "127.0.0.1:9092"
    assert set(service_settings()) == {"feed", "gateway", "projector", "recorder"}


@pytest.mark.parametrize(
    ("told", "line"),
    [
        ({"HTTP_PORT": "eighty"}, "LIVEBALANCE_HTTP_PORT should be a whole number from 0 to 65535"),
        ({"HTTP_PORT": "65536"}, "LIVEBALANCE_HTTP_PORT should be a whole number from 0 to 65535"),
        ({"KAFKA_TLS": "'true'"}, "LIVEBALANCE_KAFKA_TLS should be true or false, without quotes around it"),
        ({"LOG_FORMAT": "xml"}, "LIVEBALANCE_LOG_FORMAT should be json or text"),
        ({"KAFKA": "one:x"}, "LIVEBALANCE_KAFKA should be a text such as one:9092,other:9092"),
        (
            {"START_FROM": "2026-01-01T00:00:00"},
            "LIVEBALANCE_START_FROM should be beginning or a time with its offset such as 2026-01-01T00:00:00Z",
        ),
        ({"REDIS": "localhost"}, "LIVEBALANCE_REDIS should be a URL such as redis://host:6379/0"),
        ({"REDIS": "redis://one,other"}, "LIVEBALANCE_REDIS should be a URL such as redis://host:6379/0"),
        (
            {"KAFKA_CA": "/ca.pem"},
            "LIVEBALANCE_KAFKA_CA would not be used: set LIVEBALANCE_KAFKA_TLS=true, or leave it out",
        ),
        (
            {"KAFKA_SASL_MECHANISM": "PLAIN"},
            "LIVEBALANCE_KAFKA_USER is not set, and LIVEBALANCE_KAFKA_SASL_MECHANISM is: they go together",
        ),
        (
            {"KAFKA_USER": "me"},
            "LIVEBALANCE_KAFKA_USER would not be used: set LIVEBALANCE_KAFKA_SASL_MECHANISM, or leave it out",
        ),
        ({"KAFAK": "one:9092"}, "LIVEBALANCE_KAFAK is not known: is LIVEBALANCE_KAFKA meant?"),
        ({"XYZZY": "1"}, "LIVEBALANCE_XYZZY is not known: leave it out, or see docs/configuration.md"),
        (
            {"SECRETS_DIRECTORY": "/nowhere/at/all"},
            "LIVEBALANCE_SECRETS_DIRECTORY should be a directory: No such file or directory",
        ),
    ],
)
def test_a_line_says_what_would_be_right(told: dict[str, str], line: str) -> None:
    assert lines(**told) == (line,)


@pytest.mark.parametrize(
    ("service", "told", "line"),
    [
        ("gateway", {"ALLOWED_ORIGINS": "http://a"}, 'should be a list in JSON, such as ["one","other"]'),
        ("gateway", {"ALLOWED_ORIGINS": "[" * 100_000}, 'should be a list in JSON, such as ["one","other"]'),
        ("gateway", {"HEARTBEAT_INTERVAL_SECONDS": "0"}, "should be a number above 0"),
        ("gateway", {"DRAIN_PERIOD_SECONDS": "inf"}, "should be a number, 0 or more"),
        ("projector", {"POSTGRES": "host=db"}, "should be a URL such as postgresql://host:5432/database"),
        ("recorder", {"BATCH_RECORDS": "0"}, "should be a whole number, 1 or more"),
    ],
)
def test_of_each_service(service: str, told: dict[str, str], line: str) -> None:
    [name] = told
    besides = lines(service_settings()[service])  # what it needs in any case is told at once
    assert lines(service_settings()[service], **told) == (f"LIVEBALANCE_{name} {line}", *besides)


def test_what_does_not_go_together_is_told_beside_what_is_wrong() -> None:
    wrong = "LIVEBALANCE_HTTP_PORT should be a whole number from 0 to 65535"
    together = (
        "LIVEBALANCE_KAFKA_USER would not be used: set LIVEBALANCE_KAFKA_SASL_MECHANISM, or leave it out"
    )
    assert lines(HTTP_PORT="x", KAFKA_USER="me") == (wrong, together)
    # Whether a wrong one goes together with others shows when it is right.
    sasl = lines(KAFKA_SASL_MECHANISM="PLANE", KAFKA_USER="me")
    assert len(sasl) == 1
    assert sasl[0].startswith("LIVEBALANCE_KAFKA_SASL_MECHANISM should be")


def test_what_a_gateway_needs_is_told_at_once() -> None:
    needed = lines(service_settings()["gateway"])
    assert ["LIVEBALANCE_JWKS" in needed[0], "LIVEBALANCE_TOKEN_ISSUER" in needed[1]] == [True, True]
    assert lines(service_settings()["gateway"], DEMO_SECRET=SEED) == (
        "LIVEBALANCE_DEMO_SECRET is invalid: a secret has at least 32 bytes",
    )
    [broken] = lines(service_settings()["gateway"], JWKS=SEED, TOKEN_ISSUER="bank")
    assert broken.startswith("LIVEBALANCE_JWKS is not a valid JSON Web Key Set")
    assert SEED not in broken


def test_an_empty_variable_is_none() -> None:
    assert lines(KAFKA_TLS="", REDIS="", KAFKA_SASL_MECHANISM="", START_FROM="") == ()


def test_one_environment_serves_all() -> None:
    assert (
        lines(
            DUPLICATE_WINDOW_OFFSETS="5",
            MAX_CONNECTIONS="1",
            STATE_DIRECTORY="/x",
            STACK="docker",
            FAILPOINT="x",
            PORT="1",
        )
        == ()
    )


def test_what_kubernetes_tells_of_a_service_called_livebalance_is_no_mistake() -> None:
    link = {
        "SERVICE_HOST": "10.0.0.1",
        "SERVICE_PORT": "80",
        "SERVICE_PORT_HTTP": "80",
        "PORT_80_TCP_ADDR": "10.0.0.1",
    }
    assert lines(**{f"GATEWAY_{name}": value for name, value in link.items()}) == ()
    assert len(lines(GATEWAY_PORT_80_TCP_ADDR="10.0.0.1")) == 1


GOOD = {
    "jwks": json.dumps({"keys": [{"kty": "oct", "k": "eHh4" * 16, "kid": SEED}]}),
    "postgres": f"postgresql://me:{SEED}@host/database",
    "redis": f"rediss://:{SEED}@host:6379/0",
    "schema_registry": f"https://me:{SEED}@host",
}
NAMES = sorted({variable(field).removeprefix("LIVEBALANCE_") for _, field in SHAPES})
WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
VALUES = st.one_of(WORDS, st.sampled_from(["true", "0", "1", "-1", "nan", "[1]", '"8"', "PLAIN", "redis://"]))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    service=st.sampled_from(sorted(service_settings())),
    told=st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=6),
    unknown=st.dictionaries(st.text("ABC_\n\r\u2028", min_size=1, max_size=80), WORDS, max_size=2),
)
def test_one_line_each_and_never_a_value(service: str, told: dict[str, str], unknown: dict[str, str]) -> None:
    seeded = {name: f"{value}{SEED}{value}" for name, value in {**told, **unknown}.items()}
    for environment in (seeded, {**seeded, **told}):
        for line in (found := lines(service_settings()[service], **environment)):
            assert SEED not in line
            assert len(line) < 200  # logs cut what is longer
            assert len(line.splitlines()) == 1
            assert line.isprintable()
        assert len(set(found)) == len(found)


@pytest.mark.parametrize(("service", "field"), [at for at, shape in SHAPES.items() if is_secret(shape)])
def test_every_secret_may_be_a_file(
    service: str, field: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = GOOD.get(field, f"{SEED}-{'x' * 32}")
    (tmp_path / variable(field).lower()).write_text(value + "\n")
    monkeypatch.setenv("LIVEBALANCE_SECRETS_DIRECTORY", str(tmp_path))
    if field not in ("demo_secret", "jwks"):  # a gateway needs one of them
        monkeypatch.setenv("LIVEBALANCE_JWKS_URL", "https://bank/keys")
    monkeypatch.setenv("LIVEBALANCE_TOKEN_ISSUER", "bank")
    told = read_settings(service_settings()[service])
    assert getattr(told, field).get_secret_value() == value
    assert SEED not in repr(told) + str(told) + told.model_dump_json()


def test_a_variable_outranks_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "livebalance_redis").write_text("redis://file")
    monkeypatch.setenv("LIVEBALANCE_SECRETS_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("LIVEBALANCE_REDIS", "redis://variable")
    assert read_settings(ServiceSettings).redis.get_secret_value() == "redis://variable"


def test_files_that_are_none(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text(SEED)
    secrets = tmp_path / "secrets"
    (secrets / "livebalance_schema_registry").mkdir(parents=True)
    (secrets / "livebalance_redis").write_bytes(b"\xff" + SEED.encode())
    (secrets / "livebalance_kafka_password").symlink_to(outside)
    (secrets / "livebalance_jwsk").write_text(SEED)
    (secrets / "..data").mkdir()
    found = lines(service_settings()["gateway"], SECRETS_DIRECTORY=str(secrets), HTTP_PORT="x")
    assert found == (
        "LIVEBALANCE_JWSK is not known: is LIVEBALANCE_JWKS meant?",
        "LIVEBALANCE_SECRETS_DIRECTORY has a file livebalance_kafka_password that is a link to somewhere else",
        "LIVEBALANCE_SECRETS_DIRECTORY has a file livebalance_redis that is not UTF-8",
        "LIVEBALANCE_SECRETS_DIRECTORY has a file livebalance_schema_registry that cannot be read: Is a directory",
        "LIVEBALANCE_HTTP_PORT should be a whole number from 0 to 65535",
    )


def test_links_as_kubernetes_mounts_them_are_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "..2026").mkdir()
    (tmp_path / "..2026" / "livebalance_redis").write_text("redis://mounted\n")
    (tmp_path / "..data").symlink_to("..2026")
    (tmp_path / "livebalance_redis").symlink_to("..data/livebalance_redis")
    monkeypatch.setenv("LIVEBALANCE_SECRETS_DIRECTORY", str(tmp_path))
    assert read_settings(ServiceSettings).redis.get_secret_value() == "redis://mounted"


WITH_MISTAKES = ("test_environment.py", "test_refusing.py", "test_config.py")


def test_every_variable_that_this_repository_names_is_known() -> None:
    apart = [f":!*/{name}" for name in WITH_MISTAKES]
    listed = subprocess.run(
        ["git", "grep", "-hoE", r"LIVEBALANCE_[A-Z0-9_]*[A-Z0-9]\b", "--", *apart],
        cwd=PROJECT,
        check=True,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert set(listed.stdout.split()) - known_variables() == set()
