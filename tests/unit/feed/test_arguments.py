import json
import math

import pytest

from livebalance.feed.__main__ import arguments, summary
from livebalance.feed.feed import Feed, FeedOptions
from livebalance.feed.settings import FeedSettings


def test_what_is_fed_when_nothing_is_said() -> None:
    chosen = arguments().parse_args([])
    assert (chosen.accounts, chosen.rate, chosen.limit) == (8, 5.0, None)
    assert not chosen.plain


def test_as_fast_as_the_broker_takes() -> None:
    assert arguments().parse_args(["--rate", "max"]).rate == math.inf


@pytest.mark.parametrize(
    "bad", ["--rate=0", "--rate=-1", "--rate=nan", "--rate=inf", "--rate=fast", "--accounts=1"]
)
def test_what_makes_no_sense_is_refused_in_words(bad: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        arguments().parse_args([bad])
    assert bad.split("=", maxsplit=1)[0] in capsys.readouterr().err


def test_the_summary_counts_transfers_and_their_records() -> None:
    feed = Feed(FeedSettings(), FeedOptions(), run="r1", transfers=3, opened=8)
    assert json.loads(summary(feed, 1.5, as_json=True)) == {
        "run": "r1",
        "transfers": 3,
        "records": 6,
        "opened": 8,
        "seconds": 1.5,
    }
    assert summary(feed, 1.5, as_json=False) == "fed 3 transfers (6 records) in 1.5 s; opened 8 accounts"
