"""The choice of the Maven repository."""

from pathlib import Path

import pytest

from livebalance.stack.build import maven
from livebalance.stack.errors import StackError

_SETTINGS = """<?xml version="1.0" encoding="UTF-8"?>
<settings{schema}><mirrors>
<mirror><id>a</id><mirrorOf>another</mirrorOf><url>http://a/</url></mirror>
<mirror><id>b</id><mirrorOf>{mirrored}</mirrorOf><url>http://b/maven/</url></mirror>
</mirrors></settings>
"""


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The path of Maven's settings, which do not exist yet."""
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.delenv("LIVEBALANCE_MAVEN_REPOSITORY", raising=False)
    (tmp_path / ".m2").mkdir()
    return tmp_path / ".m2" / "settings.xml"


@pytest.mark.parametrize("schema", ["", ' xmlns="urn:any"'])
@pytest.mark.parametrize("mirrored", ["*", "central", "external:*, !another"])
def test_mirror_of_central_is_used(settings: Path, schema: str, mirrored: str) -> None:
    settings.write_text(_SETTINGS.format(schema=schema, mirrored=mirrored))
    assert maven.repository() == "http://b/maven"


@pytest.mark.parametrize("mirrored", ["another", "*,!central", ""])
def test_mirror_of_another_repository_is_ignored(settings: Path, mirrored: str) -> None:
    default = maven.repository()
    settings.write_text(_SETTINGS.format(schema="", mirrored=mirrored))
    assert maven.repository() == default


def test_environment_variable_overrides_the_mirror(settings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.write_text(_SETTINGS.format(schema="", mirrored="*"))
    monkeypatch.setenv("LIVEBALANCE_MAVEN_REPOSITORY", "http://c/")
    assert maven.repository() == "http://c"


def test_invalid_settings_give_one_error_line(settings: Path) -> None:
    settings.write_text("<settings>")
    with pytest.raises(StackError, match=r"settings.xml is not XML .*LIVEBALANCE_MAVEN_REPOSITORY") as caught:
        maven.repository()
    assert "\n" not in str(caught.value)
