"""The tables of the projection, as the migrations create them. A test compares both."""

from livebalance.readmodel.tables.columns import metadata
from livebalance.readmodel.tables.operations import intervention, quarantine, recorder_lane, revocation
from livebalance.readmodel.tables.projection import balance, lane, projection, transfer
from livebalance.readmodel.tables.reconciliation import (
    half_applied_account,
    reconciliation,
    reconciliation_lane,
)
from livebalance.readmodel.tables.sets import counted_set, followed_set, set_total

__all__ = [
    "balance",
    "counted_set",
    "followed_set",
    "half_applied_account",
    "intervention",
    "lane",
    "metadata",
    "projection",
    "quarantine",
    "reconciliation",
    "reconciliation_lane",
    "recorder_lane",
    "revocation",
    "set_total",
    "transfer",
]
