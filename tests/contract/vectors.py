"""Loads the golden vectors, which the tests of Python and TypeScript share."""

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2] / "libs/wire/vectors"

Vector = dict[str, Any]


def vectors(file: str) -> dict[str, list[Vector]]:
    """Returns the lists in `libs/wire/vectors/<file>.json` by their names."""
    content: dict[str, Any] = json.loads((ROOT / f"{file}.json").read_text())
    return {name: cases for name, cases in content.items() if isinstance(cases, list)}


def label(case: object) -> str:
    """Returns a short name of a case, as a test id.

    It is printable ASCII: pytest escapes other characters again if a process collects the tests twice.
    """
    fields = case if isinstance(case, dict) else {}
    text = str(fields.get("name") or fields.get("key") or case)
    text = "".join(char if " " <= char <= "~" and char != "\\" else f"U+{ord(char):04X}" for char in text)
    return text if len(text) <= 50 else text[:47] + "..."
