import re
from http import HTTPStatus
from pathlib import Path
from typing import get_args

from msgspec import json

from livebalance.wire.problem import ProblemCode, encode_problem, problem

PROTOCOL = Path(__file__).parents[2] / "docs" / "protocol.md"


def test_its_form() -> None:
    assert json.decode(encode_problem(problem(HTTPStatus.CONFLICT, "not_yet", "in time"))) == {
        "type": "about:blank",
        "title": "Conflict",
        "status": 409,
        "code": "not_yet",
        "detail": "in time",
    }
    named = json.decode(encode_problem(problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", "a bug", "x7")))
    assert named["error_id"] == "x7"


def test_the_protocol_names_every_code() -> None:
    """In its section about REST, in the table by status; and no other."""
    rest = PROTOCOL.read_text().partition("\n## REST\n")[2].partition("\n## ")[0]
    table = rest.partition("| status | codes |")[2].partition("\n\n")[0]
    told = re.findall(r"`([a-z_]+)`", table)
    assert sorted(set(told) - {"error_id"}) == sorted(get_args(ProblemCode))
