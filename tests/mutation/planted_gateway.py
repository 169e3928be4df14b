"""Planted mutants of the gateway: what a client is sent when rights end, and as of when it is complete."""

from typing import Any

import pytest

from livebalance.gateway.api.auth import RequestAuth
from livebalance.gateway.api.problems import ProblemMiddleware
from livebalance.gateway.auth.authenticator import Authenticator
from livebalance.gateway.auth.jwks import JwksCache
from livebalance.gateway.live import hub as hub_module
from livebalance.gateway.live.channel import Channel
from livebalance.gateway.live.outbox import Outbox
from livebalance.gateway.live.status import PipelineStatus
from livebalance.gateway.redis.pending import PendingSubscriptions
from livebalance.readmodel import gateway_reads
from tests.mutation.planted import Planted, attribute, code

_REVOKED = "tests/unit/gateway/test_revoked_data.py::"
_LOST = "tests/unit/gateway/test_lost_commits.py::"
_COMPLETE = "tests/unit/gateway/test_complete_as_of.py::"
_STATUS = "tests/unit/gateway/test_status.py::"
_AUTH = "tests/integration/gateway/test_auth.py::"


def keep_data(self: Outbox, *_: Any) -> None:
    pass


def read_revoked_accounts(patch: pytest.MonkeyPatch) -> None:
    """Leaves out both checks: before Postgres is read, and before the response begins."""
    code(Authenticator, "may_see", " or self.revocations.hides(rights, account)", "")(patch)
    hides = "self._authenticator.revocations.hides(rights, account)"
    code(RequestAuth, "require_rights_to_send", hides, "False")(patch)


GATEWAY = (
    Planted(
        "a gateway has read revocations before it admits a client",
        f"{_AUTH}test_gateway_admits_no_client_before_it_has_read_revocations",
        attribute(Authenticator, "ready", property(lambda self: self._keys.ready)),
        "^AssertionError: assert 'revocations' in 'ok",
    ),
    Planted(
        "a revoked account is not read by REST",
        f"{_AUTH}test_rest_hides_a_revoked_account",
        read_revoked_accounts,
        r"^AssertionError: /accounts/alice\nassert 200 == 403",
    ),
    Planted(
        "a list leaves out revoked accounts before it counts its rows",
        f"{_AUTH}test_rest_hides_a_revoked_account",
        attribute(RequestAuth, "hidden_accounts", lambda *_: []),
        r"^AssertionError: assert \(\[\], ''\) == \(\['bob'\], None\)",
    ),
    Planted(
        "a revoked token is not valid",
        f"{_AUTH}test_rest_rejects_a_revoked_token",
        code(Authenticator, "ended", "self.revocations.revokes(rights)", "False"),
        "^AssertionError: assert 200 == 401",
    ),
    Planted(
        "rights are checked again when a response begins",
        f"{_AUTH}test_rest_rejects_a_request_whose_rights_were_revoked_while_postgres_was_read",
        code(RequestAuth, "require_rights_to_send", "isinstance(rights, Rights)", "False"),
        r"^AssertionError: assert \(200, None\) == \(401, 'revoked'\)",
        "list",
    ),
    Planted(
        "rights are checked again when the client reads on",
        f"{_AUTH}test_nothing_is_written_if_rights_were_revoked_while_the_client_did_not_read",
        code(ProblemMiddleware, "__call__", "elif has_data and", "elif False and"),
        r"^AssertionError: assert \(200, True, True\) in ",
        "statement",
    ),
    Planted(
        "a key that is published for everyone to read verifies nothing",
        "tests/integration/gateway/test_published_secret.py::"
        "test_token_signed_with_a_published_secret_is_rejected",
        code(JwksCache, "_read", ' if key.key_type != "oct"', ""),
        "^AssertionError: the forged token was accepted",
    ),
    Planted(
        "a revoked session is sent nothing that waits",
        f"{_REVOKED}test_session_that_is_revoked_is_sent_no_waiting_data",
        attribute(Outbox, "drop_data", keep_data),
        r"^AssertionError: assert .* == \[\].*first extra item: \{'type': 'delta'",
    ),
    Planted(
        "an expired session is sent nothing that waits",
        f"{_REVOKED}test_session_whose_token_expired_is_sent_no_waiting_data",
        attribute(Outbox, "drop_data", keep_data),
        r"^AssertionError: assert 'delta' not in \['delta', 'delta'",
    ),
    Planted(
        "what waits of a revoked account is dropped",
        f"{_REVOKED}test_session_whose_account_is_revoked_is_sent_the_data_of_its_other_account_only",
        attribute(Outbox, "drop_account", keep_data),
        r"^AssertionError: assert .*At index 0 diff: \('delta', 'account:alice'\)",
    ),
    Planted(
        "the acknowledgement of an earlier subscription is not that of the last",
        "tests/unit/gateway/test_pending.py::"
        "test_channel_sent_twice_is_acknowledged_by_the_last_acknowledgement",
        code(PendingSubscriptions, "acknowledge", "if self._pending[channel] > 0:", "if False:"),
        "^AssertionError: assert not True",
    ),
    Planted(
        "a read that finds Postgres behind opens a gap",
        f"{_LOST}test_read_behind_what_was_relayed_opens_a_gap_and_every_client_goes_back",
        code(Channel, "on_read", "or recovery.current.revision < start.revision", "or False"),
        r"^AssertionError: assert \[\] == \['back'\]",
    ),
    Planted(
        "an audit that finds Postgres behind opens a gap",
        f"{_LOST}test_audit_behind_its_question_opens_a_gap",
        code(Channel, "on_audit", "stored.position.revision < asked.revision", "False"),
        r"^AssertionError: assert \[\] == \['back'\]",
    ),
    Planted(
        "an account whose transfer came before its balance is not gone",
        "tests/integration/gateway/test_first_transfer.py::"
        "test_client_that_missed_the_first_transfer_of_an_account_gets_it",
        code(gateway_reads, "_account_state", '        and row["transfer_count"] == 0\n', ""),
        "^AssertionError: assert .*'account:newborn', 'code': 'gone'",
    ),
    Planted(
        "a heartbeat names a time only if every lane has reached it",
        f"{_COMPLETE}test_as_of_while_a_lane_is_missing_is_unknown",
        code(hub_module, "_oldest_as_of", " and len(as_of) == finding.partitions", ""),
        "^AssertionError: assert '1970-01-01T00:00:07.000Z' is None",
    ),
    Planted(
        "the metrics name a time only if every lane has reached it",
        f"{_STATUS}test_as_of_with_every_lane_present_is_that_of_the_oldest",
        code(PipelineStatus, "as_of", " and len(times) == self._partitions", ""),
        "^AssertionError: assert 1795000000000 is None",
    ),
    Planted(
        "complete as of ends with its epoch",
        f"{_COMPLETE}test_as_of_does_not_outlive_its_epoch",
        code(Channel, "_move_to", "        self.as_of = None\n", "        pass\n"),
        r"^AssertionError: assert \(Position.*5000\) == \(Position.*None\)",
    ),
)
