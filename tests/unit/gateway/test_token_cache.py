from hypothesis import given
from hypothesis import strategies as st

from livebalance.gateway.auth.rights import LEEWAY, Rights, parse_scope
from livebalance.gateway.auth.token_cache import TokenCache
from livebalance.wire.timestamp import Millis

WALL = Millis(1_795_000_000_000)
LAST = LEEWAY * 1000 - 1  # milliseconds after its end, at which a token is still accepted


def rights(subject: str, expires: int = WALL) -> Rights:
    return Rights(subject, "login", parse_scope(["*"]), WALL // 1000, Millis(expires))


def test_token_is_known_until_its_leeway_has_passed() -> None:
    cache = TokenCache()
    cache.put("token", rights("me"), 1)
    assert cache.get("token", 1, Millis(WALL + LAST)) == rights("me")
    assert cache.get("token", 1, Millis(WALL + LAST + 1)) is None
    assert cache.get("token", 1, WALL) is None  # forgotten, even if the clock went back


def test_token_is_unknown_as_soon_as_the_keys_have_changed() -> None:
    cache = TokenCache()
    cache.put("token", rights("me"), 1)
    assert cache.get("token", 2, WALL) is None
    assert cache.get("token", 1, WALL) is None


def test_token_that_differs_in_a_character_is_unknown() -> None:
    cache = TokenCache()
    cache.put("token", rights("me"), 1)
    assert cache.get("tokeN", 1, WALL) is None
    assert cache.get("token\ud800", 1, WALL) is None


@given(st.integers(1, 30), st.lists(st.tuples(st.booleans(), st.text("ab", min_size=1, max_size=4))))
def test_cache_holds_the_latest_tokens_within_its_bound(bound: int, uses: list[tuple[bool, str]]) -> None:
    cache, latest = TokenCache(bound), list[str]()
    for is_put, token in uses:
        if is_put:
            cache.put(token, rights(token), 1)
            latest = [*(other for other in latest if other != token), token]
            while sum(map(len, latest)) > bound:
                latest.pop(0)
        else:
            assert cache.get(token, 1, WALL) == (rights(token) if token in latest else None)
            if token in latest:
                latest = [*(other for other in latest if other != token), token]
