"""The faults that a schedule injects. Each takes two numbers, which choose among what there is then."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from livebalance.readmodel.revocations import Revocation
from livebalance.wire.identity import AccountId, Lane, TransferId
from livebalance.wire.kafka.record import Transfer
from livebalance.wire.money import Money
from livebalance.wire.timestamp import Millis
from tests.simulation.world.codec import JSON
from tests.simulation.world.servers.kafka import BALANCES, LIFECYCLE, TRANSFERS, Record

if TYPE_CHECKING:
    from tests.simulation.world.process import Process
    from tests.simulation.world.world import World

Fault = Callable[["World", int, int], None]
T = TypeVar("T")


def _pick(items: Sequence[T], number: int) -> T | None:
    return items[number % len(items)] if items else None


MAX_POISON = 10  # records: each few of them need an operator, who takes time
MAX_REQUESTS = 2

# --- processes


def kill(world: "World", a: int, b: int) -> None:
    """F1-F3, F26: a process dies at any step."""
    process = world.processes[a % len(world.processes)]
    if process.is_alive and process not in world.clients and process is not world.operator:
        process.kill()


def start(world: "World", a: int, b: int) -> None:
    """A process that died starts again. Its group may have noticed, or not."""
    if process := _pick([process for process in world.processes if not process.is_alive], a):
        process.expire()
        process.start()


def pause(world: "World", a: int, b: int) -> None:
    """F5, F28: a process stops at any step. Its group notices, unless `b` is even."""
    process: Process = world.processes[a % len(world.processes)]
    process.is_paused = True
    if b % 2:
        process.expire()


def pause_before_write(world: "World", a: int, b: int) -> None:
    """F5: a projector stops inside a batch, and another takes its lanes. Retention may delete the batch."""
    projector = world.projectors[a % len(world.projectors)]

    def pause_inside(lanes: list[Lane]) -> None:
        projector.is_paused = True
        projector.expire()
        if b % 2 and not world.has_repeats:
            world.has_deleted = True
            for lane in lanes:
                log = world.kafka.log(TRANSFERS, lane)
                log.delete_before(log.end)

    projector.at_write = pause_inside


def wake(world: "World", a: int, b: int) -> None:
    """A paused process goes on with what it believes."""
    if process := _pick([process for process in world.processes if process.is_paused], a):
        process.is_paused = False


def rebalance(world: "World", a: int, b: int) -> None:
    """F6: a group assigns its partitions again, after a member left."""
    world.processes[a % len(world.processes)].expire()


# --- Postgres


def lose_commit(world: "World", a: int, b: int) -> None:
    """F4: the answer of a COMMIT is lost, after it happened or before."""
    world.postgres.doubt = "lost" if a % 2 else "done"


def stop_postgres(world: "World", a: int, b: int) -> None:
    """F21."""
    world.postgres.is_down = True
    world.postgres.end_connections()


def start_postgres(world: "World", a: int, b: int) -> None:
    world.postgres.is_down = False


def fail_over(world: "World", a: int, b: int) -> None:
    """F22: a standby without the last commits is promoted.

    After a move to another topic of transfers none is lost: Kafka can no longer repeat them.
    """
    world.postgres.fail_over(0 if world.has_moved else a % 6)


# --- Redis


def lose_message(world: "World", a: int, b: int) -> None:
    """F18."""
    connection = world.gateways[a % len(world.gateways)].redis
    connection.loses_next = True


def repeat_message(world: "World", a: int, b: int) -> None:
    """F18."""
    inbox = world.gateways[a % len(world.gateways)].redis.inbox
    if inbox and inbox[0][1] is not None:
        inbox.insert(b % (len(inbox) + 1), inbox[0])


def reorder_messages(world: "World", a: int, b: int) -> None:
    """F18."""
    inbox = world.gateways[a % len(world.gateways)].redis.inbox
    if len(inbox) > 1 and inbox[0][1] is not None and inbox[1][1] is not None:
        inbox[0], inbox[1] = inbox[1], inbox[0]


def restart_redis(world: "World", a: int, b: int) -> None:
    """F16."""
    world.redis.restart()


def deafen(world: "World", a: int, b: int) -> None:
    """F17: a connection accepts everything and delivers nothing."""
    world.gateways[a % len(world.gateways)].redis.is_deaf = True


# --- connections of clients


def cut(world: "World", a: int, b: int) -> None:
    """A client's connection is lost, with what was under way."""
    client = world.clients[a % len(world.clients)]
    if client.socket is not None:
        client.socket.to_client.clear()
        client.socket.close(1006)


def drop_frame(world: "World", a: int, b: int) -> None:
    """A proxy loses a frame, which TCP never does: the client itself must notice."""
    client = world.clients[a % len(world.clients)]
    if client.socket is not None:
        client.socket.is_tampered = client.socket.loses_next = True
    client.loses_delta = True


def drain(world: "World", a: int, b: int) -> None:
    """F27."""
    world.gateways[a % len(world.gateways)].drain()


# --- rights


def revoke(world: "World", a: int, b: int) -> None:
    """F32: a client loses the right to see an account."""
    client, account = world.clients[a % len(world.clients)], world.accounts[b % len(world.accounts)]
    world.postgres.revocations.append(Revocation(client.name, None, account, world.wall))


def expire(world: "World", a: int, b: int) -> None:
    """A client refreshes its token with a token that soon expires."""
    gateway = world.gateways[a % len(world.gateways)]
    if socket := _pick([*gateway.sockets.values()], b):
        gateway.authorize(socket, "refresh", Millis(world.wall + 300 * (1 + b % 8)))


# --- Kafka


def lose_transaction(world: "World", a: int, b: int) -> None:
    """The answer to the end of a Kafka transaction is lost, after it happened or before."""
    if not world.has_deleted:
        world.has_repeats = True
        world.kafka.doubt = "lost" if a % 2 else "done"


def delete_records(world: "World", a: int, b: int) -> None:
    """F10: retention deletes the oldest records, whether they were applied or not."""
    log = _pick(world.kafka.topics[TRANSFERS].logs, a)
    if log is None or world.has_repeats:
        return
    world.has_deleted = True
    log.delete_before(log.first + b % (log.end - log.first + 1))


def recreate_topic(world: "World", a: int, b: int) -> None:
    """F9: a topic is deleted and created again, or all is moved to another topic of transfers at rest."""
    if a % 2:
        world.operator.requests.append(("move", world.accounts[0]))
    elif not world.has_recreated:
        world.recreate(BALANCES if a % 4 == 0 else TRANSFERS)


def add_partition(world: "World", a: int, b: int) -> None:
    """Accounts have other partitions now, so that no operator lets the lanes continue."""
    world.has_moved = False
    for name in (TRANSFERS, BALANCES, LIFECYCLE):
        world.kafka.add_partition(name)
    world.recorders_group.rebalance()
    world.projectors_group.rebalance()


# --- records


def write_poison(world: "World", a: int, b: int) -> None:
    """F11: records that cannot be decoded."""
    log = _pick(world.kafka.topics[TRANSFERS].logs, a)
    assert log is not None
    count = min(1 + b % 6, MAX_POISON - world.poison)
    world.poison += count
    for _ in range(count):
        world.kafka.append(log, b"k", b"?")


def write_odd_bytes(world: "World", a: int, b: int) -> None:
    """F11: a good or a bad record has headers whose names are not text."""
    if (record := _pick(_transfer_records(world), a)) is None:
        return
    log, key = world.kafka.log(TRANSFERS, record.partition), record.key or b""
    headers = ((b"\x00", None), (b"\xff\xfe", b"\x00"))
    if b % 2 and world.poison < MAX_POISON:
        world.poison += 1
        world.kafka.append(log, b"\xff", b"?", headers)
    elif not world.operator.requests:
        account = AccountId(key.decode())
        transfer = Transfer(TransferId(f"odd-{log.end}"), account, Money(7, 2), world.wall)
        world.kafka.append(log, key, JSON.encode_transfer(transfer), headers)


def repeat_transfer(world: "World", a: int, b: int) -> None:
    """F7: another producer writes a transfer again."""
    if (record := _pick(_transfer_records(world), a)) and not world.has_deleted:
        world.has_repeats = True
        world.kafka.append(world.kafka.log(TRANSFERS, record.partition), record.key, record.value)


def contradict_transfer(world: "World", a: int, b: int) -> None:
    """F8: the id of a transfer stands for another amount."""
    if (record := _pick(_transfer_records(world), a)) and not world.has_deleted:
        world.has_repeats = True
        transfer = JSON.decode_transfer(record.value or b"")
        other = transfer._replace(amount=Money(transfer.amount.unscaled + 1, transfer.amount.scale))
        world.contradicted.add(transfer.account)
        log = world.kafka.log(TRANSFERS, record.partition)
        world.kafka.append(log, record.key, JSON.encode_transfer(other))


def write_wrong_balance(world: "World", a: int, b: int) -> None:
    """A foreign producer writes a balance that its transfers do not make."""
    records = [record for log in world.kafka.topics[BALANCES].logs for record in log.read(log.first)[0]]
    newest = {record.key: record for record in records}
    if world.operator.requests:
        return  # such a balance would bring back an account that is being erased
    if (record := _pick(list(newest.values()), a)) and record.value is not None:
        balance = JSON.decode_balance(record.value)
        if balance.transfer_id:
            amount = Money(balance.amount.unscaled + 1, balance.amount.scale)
            wrong = balance._replace(amount=amount, version=balance.version + 1)
            world.contradicted.add(balance.account)
            log = world.kafka.log(BALANCES, record.partition)
            world.kafka.append(log, record.key, JSON.encode_balance(wrong))


def _transfer_records(world: "World") -> list[Record]:
    """Returns good records of the present topic, of accounts that were never erased."""
    return [
        record
        for log in world.kafka.topics[TRANSFERS].logs
        for record in log.read(log.first)[0]
        if record.value != b"?" and (record.key or b"").decode() not in world.erased
    ]


# --- operators


def erase(world: "World", a: int, b: int) -> None:
    """F12."""
    request = ("erase", world.accounts[a % len(world.accounts)])
    if request not in world.operator.requests and request[1] not in world.erased:
        world.operator.requests.append(request)


def rebuild(world: "World", a: int, b: int) -> None:
    """The projection is replayed into a shadow and swapped, at once, or at rest and after compaction."""
    if b % 2:
        if not world.postgres.is_down:
            world.operator.rebuild()
    elif len(world.operator.requests) < MAX_REQUESTS:
        world.operator.requests.append(("rebuild", world.accounts[0]))


def compact(world: "World", a: int, b: int) -> None:
    """Compaction removes old balances, whether they were applied or not, and sometimes nulls."""
    world.compact(a % world.kafka.partitions(BALANCES), keeps_nulls=bool(b % 2))


# A schedule that has a fault has all of its group.
GROUPS: dict[str, tuple[Fault, ...]] = {
    "kill": (kill, start),
    "pause": (pause, pause_before_write, wake, rebalance),
    "zombie": (pause_before_write, wake, delete_records),
    "commit in doubt": (lose_commit,),
    "transaction in doubt": (lose_transaction,),
    "postgres": (stop_postgres, start_postgres),
    "failover": (fail_over,),
    "redis messages": (lose_message, repeat_message, reorder_messages),
    "redis": (restart_redis, deafen),
    "sockets": (cut, drain),
    "rights": (revoke, expire),
    "frames": (drop_frame,),
    "retention": (delete_records,),
    "another topic": (recreate_topic,),
    "partitions": (add_partition,),
    "poison": (write_poison,),
    "odd bytes": (write_odd_bytes,),
    "repeats": (repeat_transfer, contradict_transfer),
    "erasure": (erase,),
    "rebuild": (rebuild, write_wrong_balance),
    "lifecycle": (compact, erase, rebuild, write_wrong_balance),
}
FAULTS: dict[str, Fault] = {fault.__name__: fault for group in GROUPS.values() for fault in group}
