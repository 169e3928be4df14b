"""The golden vectors, which every language that speaks the wire reads."""

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2] / "libs/wire/vectors"

Vector = dict[str, Any]


def vectors(file: str) -> dict[str, list[Vector]]:
    """The lists of `libs/wire/vectors/<file>.json` by their names."""
    found: dict[str, Any] = json.loads((ROOT / f"{file}.json").read_text())
    return {name: cases for name, cases in found.items() if isinstance(cases, list)}


def label(case: object) -> str:
    """A short name of a case, for the list of tests."""
    named = case if isinstance(case, dict) else {}
    text = str(named.get("name") or named.get("key") or case)
    return text if len(text) <= 50 else text[:47] + "..."
