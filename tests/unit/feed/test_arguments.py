import json
import math

import pytest

from livebalance.feed.__main__ import arguments, summary
from livebalance.feed.feed import Feed, FeedOptions
from livebalance.feed.settings import FeedSettings


def test_arguments_without_options_have_the_defaults() -> None:
    options = arguments().parse_args([])
    assert (options.accounts, options.rate, options.limit) == (8, 5.0, None)
    assert not options.no_transactions


def test_rate_max_is_unlimited() -> None:
    assert arguments().parse_args(["--rate", "max"]).rate == math.inf


@pytest.mark.parametrize(
    "option", ["--rate=0", "--rate=-1", "--rate=nan", "--rate=inf", "--rate=fast", "--accounts=1"]
)
def test_invalid_option_is_named_in_the_error(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        arguments().parse_args([option])
    assert option.split("=", maxsplit=1)[0] in capsys.readouterr().err


def test_summary_counts_transfers_and_their_records() -> None:
    feed = Feed(FeedSettings(), FeedOptions(), run_name="r1", transfers=3, opened=8)
    assert json.loads(summary(feed, 1.5, as_json=True)) == {
        "run": "r1",
        "transfers": 3,
        "records": 6,
        "opened": 8,
        "seconds": 1.5,
    }
    assert summary(feed, 1.5, as_json=False) == "fed 3 transfers (6 records) in 1.5 s; opened 8 accounts"
