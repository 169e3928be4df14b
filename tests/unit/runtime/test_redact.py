"""No log line contains a secret, in whatever form the secret arrives."""

import json
import logging

import pytest

from livebalance.runtime import logs, redact

pytestmark = pytest.mark.usefixtures("restored_logging")

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2VjcmV0LXNpZ25hdHVyZQ"
SEED = "s33ded-secret"

TEXTS = [
    f"Authorization: Bearer {SEED}",
    f"authorization: Basic {SEED}",
    f"Cookie: session={SEED}; other=1",
    f"Set-Cookie: session={SEED}; Path=/",
    f"[(b'authorization', b'Bearer {SEED}'), (b'x', b'y')]",
    f"[(b'cookie', b'a=b; session={SEED}')]",
    f"{{'Cookie': 'session={SEED}'}}",
    f"GET /ws?token={SEED} HTTP/1.1",
    f"GET /ws?a=1&x={SEED}#f HTTP/1.1",
    f"could not connect to postgresql://gateway:{SEED}@127.0.0.1:5432/db",
    f"redis://:{SEED}@127.0.0.1:6379/0 is unavailable",
    f"token={SEED}",
    f'{{"type":"auth","token":"{SEED}"}}',
    f"password = {SEED}",
    "got " + JWT.replace("c2VjcmV0LXNpZ25hdHVyZQ", SEED),
    "x" * (redact.MAX_TEXT - 10) + f" token={SEED}",
    "y" * 100_000 + f" token={SEED}",
]


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.parametrize("text", TEXTS)
def test_secret_in_any_form_is_redacted(capsys: pytest.CaptureFixture[str], text: str, form: str) -> None:
    logs.configure("x", "json" if form == "json" else "text", "DEBUG")
    ours, library = logs.get("x"), logging.getLogger("library")
    ours.info(text)
    ours.info("got", value=text, headers={"deep": [text]}, bytes=text.encode())
    library.warning("%s", text)
    library.warning(text)
    for log in (ours, library):
        try:
            raise ValueError(text)
        except ValueError:
            log.exception("failed")
    output = capsys.readouterr().err
    assert output.count("failed") >= 2
    assert SEED not in output
    assert "c2VjcmV0" not in output


def test_field_with_a_secret_name_is_redacted(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("x", "json", "INFO")
    logs.get("x").info("got", token=SEED, Cookie=SEED, headers={"Authorization": SEED, "host": "here"})
    line = json.loads(capsys.readouterr().err)
    assert SEED not in str(line)
    assert line["headers"] == {"Authorization": redact.HIDDEN, "host": "here"}


def test_text_without_a_secret_is_unchanged() -> None:
    for plain in (
        "livebalance.gateway.live.session.Session.receive",
        "transfers/3@5512",
        "why not? because",
        "2026-11-24T17:20:00.250Z",
        "session closed: code=4000 reason=drain",
        "127.0.0.1:8000",
    ):
        assert redact.text(plain) == plain


@pytest.mark.parametrize("form", ["json", "text"])
def test_control_characters_are_escaped(capsys: pytest.CaptureFixture[str], form: str) -> None:
    logs.configure("x", "json" if form == "json" else "text", "INFO")
    logs.get("x").info("got\r\n[info] forged", value='\x1b[31mred\u2028x\x07\n{"event":"forged"}')
    output = capsys.readouterr().err
    assert len(output.splitlines()) == 1
    assert not {"\x1b", "\x07", "\u2028", "\r"} & set(output)


def test_long_value_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("x", "json", "INFO")
    logs.get("x").info("got", value="a" * 1000, bytes=b"\xff" * 1000, list=["b" * 1000])
    logging.getLogger("library").warning("c" * 1000)
    for line in capsys.readouterr().err.splitlines():
        for value in json.loads(line).values():
            assert len(value if isinstance(value, str) else value[0]) <= redact.MAX_TEXT


def test_events_of_clients_are_limited_per_second(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 10.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    logs.configure("x", "json", "INFO")
    for number in range(1000):
        logs.get("websocket").info("closed", number=number)
    logs.get("gateway").info("something else")
    assert len(capsys.readouterr().err.splitlines()) == 21
    now = 11.0
    logs.get("websocket").info("closed")
    assert json.loads(capsys.readouterr().err)["suppressed_lines"] == 980
