import re
from http import HTTPStatus
from pathlib import Path
from typing import get_args

from msgspec import json

from livebalance.wire.problem import ProblemCode, encode_problem, problem

PROTOCOL = Path(__file__).parents[2] / "docs" / "protocol.md"


def test_problem_has_the_fields_of_rfc_9457() -> None:
    assert json.decode(encode_problem(problem(HTTPStatus.CONFLICT, "not_yet", "in time"))) == {
        "type": "about:blank",
        "title": "Conflict",
        "status": 409,
        "code": "not_yet",
        "detail": "in time",
    }
    internal = json.decode(
        encode_problem(problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", "a bug", "x7"))
    )
    assert internal["error_id"] == "x7"


def test_protocol_page_lists_every_code() -> None:
    """The table by status in the section about REST has each code, and no others."""
    rest = PROTOCOL.read_text().partition("\n## REST\n")[2].partition("\n## ")[0]
    table = rest.partition("| status | codes |")[2].partition("\n\n")[0]
    codes = re.findall(r"`([a-z_]+)`", table)
    assert sorted(set(codes) - {"error_id"}) == sorted(get_args(ProblemCode))
