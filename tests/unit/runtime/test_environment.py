"""Invalid settings are reported all at once, one line each, and without their values."""

import json
import os
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
SCHEMAS = {
    (service, field): schema
    for service, settings_type in service_settings().items()
    for field, schema in settings_type.model_json_schema()["properties"].items()
}


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of Livebalance is set."""
    for name in [name for name in os.environ if name.startswith("LIVEBALANCE_")]:
        monkeypatch.delenv(name)


def errors(settings_type: type[ServiceSettings] = ServiceSettings, /, **variables: str) -> tuple[str, ...]:
    """Returns the lines that an environment is rejected with."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(f"LIVEBALANCE_{name}", value)
        try:
            read_settings(settings_type)
        except SettingsError as error:
            return error.lines
    return ()


def test_empty_environment_gives_the_defaults() -> None:
    assert read_settings(ServiceSettings).kafka == "127.0.0.1:9092"
    assert set(service_settings()) == {"feed", "gateway", "projector", "recorder"}


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        ({"HTTP_PORT": "eighty"}, "LIVEBALANCE_HTTP_PORT should be a whole number from 0 to 65535"),
        ({"HTTP_PORT": "65536"}, "LIVEBALANCE_HTTP_PORT should be a whole number from 0 to 65535"),
        ({"KAFKA_TLS": "'true'"}, "LIVEBALANCE_KAFKA_TLS should be true or false, without quotes"),
        ({"LOG_FORMAT": "xml"}, "LIVEBALANCE_LOG_FORMAT should be json or text"),
        ({"KAFKA": "one:x"}, "LIVEBALANCE_KAFKA should be text such as kafka-1:9092,kafka-2:9092"),
        (
            {"START_FROM": "2026-01-01T00:00:00"},
            "LIVEBALANCE_START_FROM should be beginning or a time with a UTC offset"
            " such as 2026-01-01T00:00:00Z",
        ),
        ({"REDIS": "localhost"}, "LIVEBALANCE_REDIS should be a URL such as redis://host:6379/0"),
        ({"REDIS": "redis://one,other"}, "LIVEBALANCE_REDIS should be a URL such as redis://host:6379/0"),
        (
            {"KAFKA_CA": "/ca.pem"},
            "LIVEBALANCE_KAFKA_CA has no effect: set LIVEBALANCE_KAFKA_TLS=true, or remove this setting",
        ),
        (
            {"KAFKA_SASL_MECHANISM": "PLAIN"},
            "LIVEBALANCE_KAFKA_USER is not set, but LIVEBALANCE_KAFKA_SASL_MECHANISM requires it",
        ),
        (
            {"KAFKA_USER": "me"},
            "LIVEBALANCE_KAFKA_USER has no effect:"
            " set LIVEBALANCE_KAFKA_SASL_MECHANISM, or remove this setting",
        ),
        ({"KAFAK": "one:9092"}, "LIVEBALANCE_KAFAK is not known: did you mean LIVEBALANCE_KAFKA?"),
        ({"XYZZY": "1"}, "LIVEBALANCE_XYZZY is not known: remove it, or see docs/configuration.md"),
        (
            {"SECRETS_DIRECTORY": "/nowhere/at/all"},
            "LIVEBALANCE_SECRETS_DIRECTORY should be a directory: No such file or directory",
        ),
    ],
)
def test_invalid_variable_has_a_line_that_says_what_it_should_be(
    variables: dict[str, str], line: str
) -> None:
    assert errors(**variables) == (line,)


@pytest.mark.parametrize(
    ("service", "variables", "line"),
    [
        ("gateway", {"ALLOWED_ORIGINS": "http://a"}, 'should be a JSON list such as ["one","two"]'),
        ("gateway", {"ALLOWED_ORIGINS": "[" * 100_000}, 'should be a JSON list such as ["one","two"]'),
        ("gateway", {"HEARTBEAT_INTERVAL_SECONDS": "0"}, "should be a number above 0"),
        ("gateway", {"DRAIN_PERIOD_SECONDS": "inf"}, "should be a number, 0 or more"),
        ("projector", {"POSTGRES": "host=db"}, "should be a URL such as postgresql://host:5432/database"),
        ("recorder", {"BATCH_RECORDS": "0"}, "should be a whole number, 1 or more"),
    ],
)
def test_invalid_variable_of_a_service_is_reported_with_its_missing_settings(
    service: str, variables: dict[str, str], line: str
) -> None:
    [name] = variables
    missing = errors(service_settings()[service])
    assert errors(service_settings()[service], **variables) == (f"LIVEBALANCE_{name} {line}", *missing)


def test_conflicting_settings_are_reported_with_invalid_settings() -> None:
    invalid = "LIVEBALANCE_HTTP_PORT should be a whole number from 0 to 65535"
    conflict = (
        "LIVEBALANCE_KAFKA_USER has no effect: set LIVEBALANCE_KAFKA_SASL_MECHANISM, or remove this setting"
    )
    assert errors(HTTP_PORT="x", KAFKA_USER="me") == (invalid, conflict)
    # An invalid setting may conflict with others once it is valid, so that is not reported yet.
    sasl = errors(KAFKA_SASL_MECHANISM="PLANE", KAFKA_USER="me")
    assert len(sasl) == 1
    assert sasl[0].startswith("LIVEBALANCE_KAFKA_SASL_MECHANISM should be")


def test_missing_settings_of_a_gateway_are_reported_at_once() -> None:
    missing = errors(service_settings()["gateway"])
    assert ["LIVEBALANCE_JWKS" in missing[0], "LIVEBALANCE_TOKEN_ISSUER" in missing[1]] == [True, True]
    assert errors(service_settings()["gateway"], DEMO_SECRET=SEED) == (
        "LIVEBALANCE_DEMO_SECRET is invalid: a secret has at least 32 bytes",
    )
    [invalid] = errors(service_settings()["gateway"], JWKS=SEED, TOKEN_ISSUER="bank")
    assert invalid.startswith("LIVEBALANCE_JWKS is not a valid JSON Web Key Set")
    assert SEED not in invalid


def test_empty_variable_counts_as_not_set() -> None:
    assert errors(KAFKA_TLS="", REDIS="", KAFKA_SASL_MECHANISM="", START_FROM="") == ()


def test_variables_of_other_services_are_accepted() -> None:
    assert (
        errors(
            DUPLICATE_WINDOW_OFFSETS="5",
            MAX_CONNECTIONS="1",
            STATE_DIRECTORY="/x",
            STACK="docker",
            FAILPOINT="x",
            PORT="1",
        )
        == ()
    )


def test_service_links_of_kubernetes_are_accepted() -> None:
    variables = {
        "SERVICE_HOST": "10.0.0.1",
        "SERVICE_PORT": "80",
        "SERVICE_PORT_HTTP": "80",
        "PORT_80_TCP_ADDR": "10.0.0.1",
    }
    assert errors(**{f"GATEWAY_{name}": value for name, value in variables.items()}) == ()
    assert len(errors(GATEWAY_PORT_80_TCP_ADDR="10.0.0.1")) == 1


GOOD = {
    "jwks": json.dumps({"keys": [{"kty": "oct", "k": "eHh4" * 16, "kid": SEED}]}),
    "postgres": f"postgresql://me:{SEED}@host/database",
    "redis": f"rediss://:{SEED}@host:6379/0",
    "schema_registry": f"https://me:{SEED}@host",
}
NAMES = sorted({variable(field).removeprefix("LIVEBALANCE_") for _, field in SCHEMAS})
WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
VALUES = st.one_of(WORDS, st.sampled_from(["true", "0", "1", "-1", "nan", "[1]", '"8"', "PLAIN", "redis://"]))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    service=st.sampled_from(sorted(service_settings())),
    variables=st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=6),
    unknown=st.dictionaries(st.text("ABC_\n\r\u2028", min_size=1, max_size=80), WORDS, max_size=2),
)
def test_errors_have_one_line_each_and_no_value(
    service: str, variables: dict[str, str], unknown: dict[str, str]
) -> None:
    seeded = {name: f"{value}{SEED}{value}" for name, value in {**variables, **unknown}.items()}
    for environment in (seeded, {**seeded, **variables}):
        for line in (lines := errors(service_settings()[service], **environment)):
            assert SEED not in line
            assert len(line) < 200  # logs cut longer values
            assert len(line.splitlines()) == 1
            assert line.isprintable()
        assert len(set(lines)) == len(lines)


@pytest.mark.parametrize(("service", "field"), [key for key, schema in SCHEMAS.items() if is_secret(schema)])
def test_secret_can_be_a_file(
    service: str, field: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = GOOD.get(field, f"{SEED}-{'x' * 32}")
    (tmp_path / variable(field).lower()).write_text(value + "\n")
    monkeypatch.setenv("LIVEBALANCE_SECRETS_DIRECTORY", str(tmp_path))
    if field not in ("demo_secret", "jwks"):  # a gateway needs keys from somewhere
        monkeypatch.setenv("LIVEBALANCE_JWKS_URL", "https://bank/keys")
    monkeypatch.setenv("LIVEBALANCE_TOKEN_ISSUER", "bank")
    service_config = read_settings(service_settings()[service])
    assert getattr(service_config, field).get_secret_value() == value
    assert SEED not in repr(service_config) + str(service_config) + service_config.model_dump_json()


def test_variable_overrides_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "livebalance_redis").write_text("redis://file")
    monkeypatch.setenv("LIVEBALANCE_SECRETS_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("LIVEBALANCE_REDIS", "redis://variable")
    assert read_settings(ServiceSettings).redis.get_secret_value() == "redis://variable"


def test_unusable_files_are_reported(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text(SEED)
    secrets = tmp_path / "secrets"
    (secrets / "livebalance_schema_registry").mkdir(parents=True)
    (secrets / "livebalance_redis").write_bytes(b"\xff" + SEED.encode())
    (secrets / "livebalance_kafka_password").symlink_to(outside)
    (secrets / "livebalance_jwsk").write_text(SEED)
    (secrets / "..data").mkdir()
    lines = errors(service_settings()["gateway"], SECRETS_DIRECTORY=str(secrets), HTTP_PORT="x")
    assert lines == (
        "LIVEBALANCE_JWSK is not known: did you mean LIVEBALANCE_JWKS?",
        "LIVEBALANCE_SECRETS_DIRECTORY has a file livebalance_kafka_password that links out of the directory",
        "LIVEBALANCE_SECRETS_DIRECTORY has a file livebalance_redis that is not UTF-8",
        "LIVEBALANCE_SECRETS_DIRECTORY has a file livebalance_schema_registry that cannot be read:"
        " Is a directory",
        "LIVEBALANCE_HTTP_PORT should be a whole number from 0 to 65535",
    )


def test_links_in_a_kubernetes_secret_volume_are_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "..2026").mkdir()
    (tmp_path / "..2026" / "livebalance_redis").write_text("redis://mounted\n")
    (tmp_path / "..data").symlink_to("..2026")
    (tmp_path / "livebalance_redis").symlink_to("..data/livebalance_redis")
    monkeypatch.setenv("LIVEBALANCE_SECRETS_DIRECTORY", str(tmp_path))
    assert read_settings(ServiceSettings).redis.get_secret_value() == "redis://mounted"


WITH_UNKNOWN_VARIABLES = ("test_environment.py", "test_startup_errors.py", "test_config.py")


def test_every_variable_named_in_the_repository_is_known() -> None:
    excluded = [f":!*/{name}" for name in WITH_UNKNOWN_VARIABLES]
    listed = subprocess.run(
        ["git", "grep", "-hoE", r"\bLIVEBALANCE_[A-Z0-9_]*[A-Z0-9]\b", "--", *excluded],
        cwd=PROJECT,
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert set(listed.stdout.split()) - known_variables() == set()
