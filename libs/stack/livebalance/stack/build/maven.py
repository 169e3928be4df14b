"""The Maven repository of this machine: a mirror, if it has been told of one."""

import os
import warnings
from pathlib import Path
from xml.etree import ElementTree

from livebalance.stack.errors import StackError

_OF_CENTRAL = {"*", "external:*", "central"}  # what a mirror may say it is a mirror of


def repository() -> str:
    """`LIVEBALANCE_MAVEN_REPOSITORY`, else the mirror in Maven's own settings, else the resolver's default.

    Raises:
        Trouble: the settings cannot be read.
    """
    settings = Path.home() / ".m2" / "settings.xml"
    return (os.environ.get("LIVEBALANCE_MAVEN_REPOSITORY") or mirror(settings) or _default()).rstrip("/")


def mirror(settings: Path) -> str | None:
    """The first mirror of the central repository that a `settings.xml` names, if any."""
    if not settings.is_file():
        return None
    try:
        root = ElementTree.parse(settings)  # noqa: S314 - its owner runs this
    except ElementTree.ParseError as error:
        raise StackError(
            f"{settings} is not XML ({error}): put it right, or set LIVEBALANCE_MAVEN_REPOSITORY"
        ) from error
    for one in root.iterfind("{*}mirrors/{*}mirror"):
        of = {word.strip() for word in one.findtext("{*}mirrorOf", "").split(",")}
        if of & _OF_CENTRAL and "!central" not in of:
            return one.findtext("{*}url", "").strip() or None
    return None


def _default() -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on import it looks for a runtime directory that we do not use
        from jgo.constants import MAVEN_CENTRAL_URL  # noqa: PLC0415 - a warm start need not pay for it
    return str(MAVEN_CENTRAL_URL)
