"""The golden vectors, which every language that speaks the wire reads."""

import json
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parents[2] / "libs/wire/vectors"

Vector = dict[str, Any]


def vectors(file: str) -> dict[str, list[Vector]]:
    """The lists of `libs/wire/vectors/<file>.json` by their names."""
    found: dict[str, Any] = json.loads((_ROOT / f"{file}.json").read_text())
    return {name: cases for name, cases in found.items() if isinstance(cases, list)}


def label(case: object) -> str:
    """A short name of a case, for the list of tests."""
    text = str(case["name"] if isinstance(case, dict) and "name" in case else case)
    return text if len(text) <= 50 else text[:47] + "..."
