import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livebalance.wire.frame import FrameError, decode_client_frame
from livebalance.wire.identity import MAX_REVISION
from livebalance.wire.strict_json import MAX_DEPTH, StrictError, check_strict


def nested(levels: int, opening: str = "[", closing: str = "]") -> str:
    return opening * levels + "1" + closing * levels


REJECTED = {
    "empty": "",
    "not JSON": "nonsense",
    "two values": "1 2",
    "duplicate key": '{"a":1,"a":1}',
    "duplicate key in a nested object": '{"x":[{"a":1,"b":2,"a":3}]}',
    "duplicate key, one escaped": '{"a":1,"\\u0061":2}',
    "__proto__": '{"__proto__":{}}',
    "__proto__, escaped": '{"x":{"\\u005f_proto__":1}}',
    "NaN": '{"x":NaN}',
    "Infinity": "[-Infinity]",
    "number beyond 2^53": f"[{MAX_REVISION + 1}]",
    "negative number beyond 2^53": f"[{-MAX_REVISION - 1}]",
    "number of 5000 digits": "1" * 5000,
    "1e400": "1e400",
    "fraction just beyond 2^53": "9007199254740993.0",
    "17 lists": nested(MAX_DEPTH + 1),
    "17 objects": nested(MAX_DEPTH + 1, '{"a":', "}"),
    "100,000 lists": nested(100_000),
    "control character": '"\x01"',
    "byte order mark": "\ufeff1",
}


@pytest.mark.parametrize("text", REJECTED.values(), ids=REJECTED)
def test_ambiguous_json_is_rejected(text: str) -> None:
    with pytest.raises(StrictError):
        check_strict(text)
    with pytest.raises(FrameError) as error:
        decode_client_frame('{"type":"ping","id":1,"x":%s}' % (text or "{"))
    assert error.value.code == "bad_message"


@pytest.mark.parametrize(
    "text",
    [
        str(MAX_REVISION),
        str(-MAX_REVISION),
        "-1.5e3",
        nested(MAX_DEPTH),
        nested(MAX_DEPTH, '{"a":', "}"),
        '[{"a":1},{"a":1}]',
        '{"a":{"a":{"a":1}}}',
        '["__proto__", "NaN", "[[[[[[[[[[[[[[[[[[[[[[[["]',
    ],
)
def test_unambiguous_json_is_accepted(text: str) -> None:
    check_strict(text)


values = st.recursive(
    st.none() | st.booleans() | st.integers(-MAX_REVISION, MAX_REVISION) | st.floats(-1e9, 1e9) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(values)
def test_json_of_the_standard_library_is_accepted(value: object) -> None:
    check_strict(json.dumps(value))
