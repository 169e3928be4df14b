import json

import pytest

from livebalance.wire.errors import DecodeError
from livebalance.wire.frame import (
    FrameError,
    ServerFrame,
    decode_client_frame,
    decode_server_frame,
    encode_frame,
)
from tests.contract.vectors import Vector, label, vectors

VECTORS = vectors("frames")


@pytest.mark.parametrize("case", VECTORS["client"], ids=label)
def test_client_frame_decodes(case: Vector) -> None:
    assert json.loads(encode_frame(decode_client_frame(case["text"]))) == case["means"]


@pytest.mark.parametrize("case", VECTORS["client_invalid"], ids=label)
def test_invalid_client_frame_has_its_error_code(case: Vector) -> None:
    with pytest.raises(FrameError) as error:
        decode_client_frame(case["text"])
    assert (error.value.code, error.value.id) == (case["code"], case.get("id"))


@pytest.mark.parametrize("case", VECTORS["server"], ids=label)
def test_server_frame_decodes(case: Vector) -> None:
    frame = decode_server_frame(case["text"])
    assert frame is not None
    assert json.loads(encode_frame(frame)) == case["means"]


def test_every_server_frame_type_is_in_the_vectors() -> None:
    cases = [*VECTORS["server"], *vectors("sets")["server"]]
    types = {type(decode_server_frame(case["text"])) for case in cases}
    assert types == set(ServerFrame.__args__)


@pytest.mark.parametrize("case", VECTORS["server_ignored"], ids=label)
def test_server_frame_of_an_unknown_type_is_ignored(case: Vector) -> None:
    assert decode_server_frame(case["text"]) is None


@pytest.mark.parametrize("case", VECTORS["server_invalid"], ids=label)
def test_invalid_server_frame_is_rejected(case: Vector) -> None:
    with pytest.raises(DecodeError):
        decode_server_frame(case["text"])
