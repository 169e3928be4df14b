"""How old a client may become: it is asked to go, then it goes; and those who came together go apart."""

from dataclasses import dataclass

from livebalance.gateway.auth.revocations import Revocations
from livebalance.gateway.live.hub import Hub
from livebalance.gateway.live.session import Session
from livebalance.gateway.live.sessions import AGE_SPREAD, AGED, LEAVE_WITHIN, Sessions
from livebalance.wire.close import CloseCode
from tests.unit.gateway.test_hub import TERMS, WALL, frames, rights

AGE = 100.0


@dataclass
class Told:
    goaways: dict[str, float]
    hangups: dict[str, float]


def lived(clients: Sessions, hub: Hub, sessions: list[Session], until: float) -> Told:
    """When each was told what, looking four times a second."""
    told = Told({}, {})
    for quarter in range(int(until * 4)):
        now = quarter / 4
        clients.tick(now, WALL)
        for session in sessions:
            if any(frame["type"] == "goaway" and frame["reason"] == "age" for frame in frames(session)):
                told.goaways[session.name] = now
        for session, hangup in hub.take().hangups:
            assert hangup == AGED
            assert hangup.code is CloseCode.GOODBYE
            told.hangups[session.name] = now
            clients.disconnect(session)
    return told


def house(age: float | None) -> tuple[Sessions, Hub]:
    hub = Hub(resume_max=10_000, trail_bytes=1 << 20)
    return Sessions(TERMS._replace(age=age), Revocations(), hub), hub


def came(clients: Sessions, name: str, chance: float) -> Session:
    session = clients.connect(name, "10.0.0.1", 0.0, chance)
    clients.vouched(session, None, rights(name), 0.0, WALL)
    return session


def test_it_is_asked_to_go_and_then_goes() -> None:
    clients, hub = house(AGE)
    session = came(clients, "s", 0.0)
    told = lived(clients, hub, [session], AGE + 20)
    assert told.goaways == {"s": AGE}
    assert told.hangups == {"s": AGE + LEAVE_WITHIN}


def test_who_came_together_goes_apart_and_never_later() -> None:
    clients, hub = house(AGE)
    sessions = [came(clients, f"s-{number}", number / 20) for number in range(20)]
    went = sorted(lived(clients, hub, sessions, AGE + 20).goaways.values())
    assert len(went) == len(set(went)) == 20
    assert went[0] >= AGE * (1 - AGE_SPREAD)
    assert went[-1] <= AGE


def test_who_left_is_forgotten() -> None:
    clients, hub = house(AGE)
    gone, going = came(clients, "gone", 0.0), came(clients, "going", 0.5)
    clients.disconnect(gone)
    told = lived(clients, hub, [gone, going], AGE - 5)
    assert told.goaways.keys() == {"going"}
    assert told.hangups == {}
    clients.disconnect(going)
    assert lived(clients, hub, [gone, going], AGE + 50) == Told({}, {})


def test_without_a_bound_everyone_may_stay() -> None:
    clients, hub = house(None)
    assert lived(clients, hub, [came(clients, "s", 0.9)], AGE * 5) == Told({}, {})
