"""The Maven repository that this machine downloads from: the configured mirror, or the central repository."""

import os
import warnings
from pathlib import Path
from xml.etree import ElementTree

from livebalance.stack.errors import StackError

_CENTRAL = {"*", "external:*", "central"}  # values of mirrorOf that include the central repository


def repository() -> str:
    """Returns LIVEBALANCE_MAVEN_REPOSITORY, else the mirror in Maven's settings, else the central repository.

    Raises:
        StackError: Maven's settings are not XML.
    """
    settings = Path.home() / ".m2" / "settings.xml"
    return (os.environ.get("LIVEBALANCE_MAVEN_REPOSITORY") or mirror(settings) or _default()).rstrip("/")


def mirror(settings: Path) -> str | None:
    """Returns the URL of the first mirror of the central repository in a `settings.xml`, or None.

    Raises:
        StackError: the file is not XML.
    """
    if not settings.is_file():
        return None
    try:
        root = ElementTree.parse(settings)  # noqa: S314 - the user's own file
    except ElementTree.ParseError as error:
        raise StackError(
            f"{settings} is not XML ({error}): correct the file, or set LIVEBALANCE_MAVEN_REPOSITORY"
        ) from error
    for element in root.iterfind("{*}mirrors/{*}mirror"):
        mirrored = {word.strip() for word in element.findtext("{*}mirrorOf", "").split(",")}
        if mirrored & _CENTRAL and "!central" not in mirrored:
            return element.findtext("{*}url", "").strip() or None
    return None


def _default() -> str:
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # on import, jgo warns about a runtime directory that is not used here
        from jgo.constants import MAVEN_CENTRAL_URL  # noqa: PLC0415 - slow; a start with all jars does not need it
    return str(MAVEN_CENTRAL_URL)
