"""Where jars come from: the mirror this machine was told of."""

from pathlib import Path

import pytest

from livebalance.stack.build import maven
from livebalance.stack.errors import StackError

_SETTINGS = """<?xml version="1.0" encoding="UTF-8"?>
<settings{schema}><mirrors>
<mirror><id>a</id><mirrorOf>another</mirrorOf><url>http://a/</url></mirror>
<mirror><id>b</id><mirrorOf>{of}</mirrorOf><url>http://b/maven/</url></mirror>
</mirrors></settings>
"""


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The settings of a user who has none yet."""
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.delenv("LIVEBALANCE_MAVEN_REPOSITORY", raising=False)
    (tmp_path / ".m2").mkdir()
    return tmp_path / ".m2" / "settings.xml"


@pytest.mark.parametrize("schema", ["", ' xmlns="urn:any"'])
@pytest.mark.parametrize("of", ["*", "central", "external:*, !another"])
def test_a_mirror_of_central_is_asked(settings: Path, schema: str, of: str) -> None:
    settings.write_text(_SETTINGS.format(schema=schema, of=of))
    assert maven.repository() == "http://b/maven"


@pytest.mark.parametrize("of", ["another", "*,!central", ""])
def test_a_mirror_of_something_else_is_not(settings: Path, of: str) -> None:
    default = maven.repository()
    settings.write_text(_SETTINGS.format(schema="", of=of))
    assert maven.repository() == default


def test_what_is_named_for_us_comes_first(settings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.write_text(_SETTINGS.format(schema="", of="*"))
    monkeypatch.setenv("LIVEBALANCE_MAVEN_REPOSITORY", "http://c/")
    assert maven.repository() == "http://c"


def test_settings_that_cannot_be_read_are_one_line(settings: Path) -> None:
    settings.write_text("<settings>")
    with pytest.raises(StackError, match=r"settings.xml is not XML .*LIVEBALANCE_MAVEN_REPOSITORY") as caught:
        maven.repository()
    assert "\n" not in str(caught.value)
