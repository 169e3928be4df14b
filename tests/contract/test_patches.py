import pytest

from livebalance.client.patch import apply_patch
from livebalance.gateway.live.patches import make_patch
from livebalance.wire.frame import DeltaFrame, Patch, decode_server_frame
from tests.contract.vectors import Vector, label, vectors

VECTORS = vectors("patches")["patches"]
PATCHED = [case for case in VECTORS if case["patch"] is not None]


@pytest.mark.parametrize("case", VECTORS, ids=label)
def test_patch_is_made_of_the_delta_and_the_delta_before(case: Vector) -> None:
    patch = make_patch(case["last"].encode(), case["delta"].encode())
    assert (None if patch is None else patch.decode()) == case["patch"]


@pytest.mark.parametrize("case", PATCHED, ids=label)
def test_patch_brings_the_client_the_whole_delta(case: Vector) -> None:
    last, patch = decode_server_frame(case["last"]), decode_server_frame(case["patch"])
    assert isinstance(last, DeltaFrame)
    assert isinstance(patch, Patch)
    assert apply_patch(last, patch) == decode_server_frame(case["delta"])
