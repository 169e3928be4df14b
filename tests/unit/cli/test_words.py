import pytest

from livebalance.cli.words import joined


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ([], []),
        (["--transfer", "a", "b", "-12.50", "--json"], ["--transfer=a,b,-12.50", "--json"]),
        (
            ["--transfer", "a", "b", "1", "--transfer", "c", "d", "2"],
            ["--transfer=a,b,1", "--transfer=c,d,2"],
        ),
        (["--transfer", "a", "b"], ["--transfer", "a", "b"]),
        (["--transfer=a,b,1"], ["--transfer=a,b,1"]),
    ],
)
def test_three_words_become_one(words: list[str], found: list[str]) -> None:
    assert joined(words) == found
