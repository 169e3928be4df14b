"""CPU time of a delta in a projector and in a gateway: encoding, signature, and digest for the audit.

`python -m tests.bench.signed_deltas [--deltas 200000]`

A delta has a transfer and a balance. Times are in microseconds of CPU per delta, the least of five runs in
one process.
"""

import argparse
import time
from collections.abc import Callable

from livebalance.gateway.live.channel import delta_frame
from livebalance.gateway.live.content import RelayedContent
from livebalance.wire.delta import DeltaParts, decode_delta, encode_delta, make_delta, read_header
from livebalance.wire.identity import AccountId, Epoch, Lane, Revision, TransferId
from livebalance.wire.signature import SigningKey, verified_message
from livebalance.wire.timestamp import Millis, format_rfc3339
from livebalance.wire.views import BalanceView, TransferView, balance_json, transfers_json

ACCOUNT, LANE, AT = AccountId("acc-0001"), Lane(3), Millis(1_795_000_000_000)
CHANNEL = b"livebalance:account:acc-0001"
RUNS = 5


def parts() -> DeltaParts:
    id_, revision = TransferId("t-12345678"), Revision(7)
    balance = BalanceView("1234.50", "EUR", 12, revision, id_, "client-1", "0.00", "0.00", "0.00", None)
    transfer = TransferView(id_, "12.50", "1234.50", format_rfc3339(AT), Revision(6), "transfers/3@551212")
    content = (balance_json(balance), transfers_json([transfer]))
    return DeltaParts(Epoch("00000000000000a1"), Revision(5), revision, AT, *content)


def measure(step: Callable[[], object], deltas: int) -> float:
    """Returns the microseconds of CPU that a step takes."""
    times = []
    for _ in range(RUNS):
        start = time.process_time()
        for _ in range(deltas):
            step()
        times.append(time.process_time() - start)
    return 1e6 * min(times) / deltas


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--deltas", type=int, default=200_000)
    deltas = parser.parse_args().deltas
    content, key, other = RelayedContent(ACCOUNT, Revision(5)), SigningKey("k" * 32), SigningKey("o" * 32)
    change, delta = parts(), make_delta(ACCOUNT, LANE, parts())
    frame, positions = delta_frame(ACCOUNT, delta), encode_delta(delta, positions=True)
    message = encode_delta(delta)
    signed = key.sign(CHANNEL, message)
    steps: dict[str, Callable[[], object]] = {
        "projector: encode": lambda: encode_delta(make_delta(ACCOUNT, LANE, change)),
        "projector: sign": lambda: key.sign(CHANNEL, message),
        "gateway: decode": lambda: decode_delta(ACCOUNT, message),
        "gateway: read the header": lambda: read_header(ACCOUNT, positions),
        "gateway: verify": lambda: verified_message([key], CHANNEL, signed),
        "gateway: verify, second key": lambda: verified_message([other, key], CHANNEL, signed),
        "gateway: add to the digest": lambda: content.add(frame),
        "gateway: digest, at an audit": lambda: RelayedContent.begin_audit(content, Revision(7)),
    }
    print(f"{len(message)} bytes; µs per delta")
    for name, step in steps.items():
        print(f"{name:30} {measure(step, deltas):6.2f}")


if __name__ == "__main__":
    main()
