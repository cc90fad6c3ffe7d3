"""Sessions in sealed cookies: opened once, remembered within bounds, gone when they are over."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import replace

import pytest

from gateway.config.accepted import Accepted, Kind
from gateway.formats import jwe, nextauth
from gateway.formats.iron import SKEW
from gateway.formats.jwt_claims import TOLERANCE
from gateway.model import SessionKey
from gateway.rules.foreign import CLAIMS, Trust
from gateway.sources.formats import format_of
from gateway.sources.sealed import SealedSource
from tests.integration.accepting import NEXT_COOKIE, NEXT_SECRET, next_cookie

CONFIG = Accepted(
    kind=Kind.NEXTAUTH,
    cookies=(f"__Secure-{NEXT_COOKIE}", NEXT_COOKIE),
    paths=CLAIMS,
    trust=Trust(provider="next"),
    forward_to=frozenset({"app"}),
    secrets=(NEXT_SECRET,),
)


class Opening:
    """A source with a clock of its own, that counts what it does."""

    def __init__(self, *, max_entries: int = 50_000) -> None:
        self.now = time.time()
        self.outcomes: Counter[str] = Counter()
        self.source = SealedSource(
            CONFIG,
            format_of(CONFIG),
            wall=lambda: self.now,
            count=lambda outcome: self.outcomes.update([str(outcome)]),
            max_entries=max_entries,
        )

    def key(self, cookie: str) -> SessionKey:
        pairs = (pair.partition("=") for pair in cookie.split("; "))
        key = self.source.key({name: value.encode() for name, _, value in pairs})
        assert key is not None
        return key


@pytest.fixture
def opening() -> Opening:
    return Opening()


async def test_a_cookie_is_opened_once(opening: Opening) -> None:
    key = opening.key(next_cookie(sub="1"))
    assert opening.source.peek(key, opening.now) is None
    held = await opening.source.get(key)
    assert held is not None
    assert held.session.user.id == "1"
    assert opening.source.peek(key, opening.now) is held
    assert await opening.source.get(key) is held
    assert opening.outcomes == {"opened": 1}


async def test_it_is_forgotten_when_it_is_over(opening: Opening) -> None:
    key = opening.key(next_cookie(sub="1", max_age=100.0))
    held = await opening.source.get(key)
    assert held is not None
    opening.now = held.session.expires_at - 0.001
    assert opening.source.peek(key, opening.now) is held
    assert await opening.source.current(held.session) is not None
    opening.now = held.session.expires_at
    assert opening.source.peek(key, opening.now) is None
    assert await opening.source.get(key) is None
    assert await opening.source.current(held.session) is None
    assert opening.outcomes == {"opened": 1, "expired": 1}


async def test_what_is_refused_is_counted_and_not_remembered(opening: Opening) -> None:
    key = opening.key(next_cookie(sub="1", secret="another secret of 32 characters!!"))
    for _ in range(2):
        assert await opening.source.get(key) is None
        assert opening.source.peek(key, opening.now) is None
    assert opening.outcomes == {"bad_key": 2}


async def test_no_more_is_remembered_than_is_allowed() -> None:
    opening = Opening(max_entries=20)
    keys = [opening.key(next_cookie(sub=str(number))) for number in range(50)]
    for key in keys:
        assert await opening.source.get(key) is not None
    known = [key for key in keys if opening.source.peek(key, opening.now) is not None]
    assert len(known) <= 20
    assert keys[-1] in known


async def test_what_is_used_stays_remembered() -> None:
    opening = Opening(max_entries=20)
    used = opening.key(next_cookie(sub="used"))
    held = await opening.source.get(used)
    for number in range(50):
        await opening.source.get(opening.key(next_cookie(sub=str(number))))
        assert opening.source.peek(used, opening.now) is held


async def test_neither_key_nor_session_shows_the_cookie(opening: Opening) -> None:
    cookie = next_cookie(sub="1", token="whispered")
    key = opening.key(cookie)
    held = await opening.source.get(key)
    assert held is not None
    text = cookie.partition("=")[2]
    for shown in (str(key), repr(key), repr(held), str(held.session.key), held.session.id):
        assert text not in shown
        assert "whispered" not in shown
    assert type(held.session.key) is str  # without the text: thousands are remembered


async def test_a_session_has_one_handle_and_another_source_another(opening: Opening) -> None:
    cookie = next_cookie(sub="1")
    first, again = [await Opening().source.get(opening.key(cookie)) for _ in range(2)]
    assert first is not None
    assert again is not None
    assert first.session == again.session
    other = await opening.source.get(opening.key(next_cookie(sub="1")))
    assert other is not None
    assert other.session.id != first.session.id


def test_the_prefixed_name_comes_first(opening: Opening) -> None:
    plain, secure = next_cookie(sub="plain"), next_cookie(sub="secure")
    both = f"{plain}; __Secure-{secure}"
    assert opening.key(both) == opening.key(f"__Secure-{secure}")
    assert opening.key(both) != opening.key(plain)


def test_broken_pieces_are_no_session(opening: Opening) -> None:
    assert opening.source.key({f"{NEXT_COOKIE}.1": b"x"}) is None
    assert opening.source.key({}) is None
    assert opening.outcomes == {"bad_chunks": 1}


@pytest.mark.parametrize(
    ("issued_at", "touched"),
    [
        pytest.param(1_700_000_000, 1_700_000_000.0, id="a while ago"),
        pytest.param(1e300, None, id="in the far future"),
        pytest.param(10**400, None, id="beyond a double"),
        pytest.param(-(10**400), 0.0, id="below a double"),
    ],
)
async def test_it_was_used_last_when_it_was_issued_whatever_number_says_so(
    opening: Opening, issued_at: float, touched: float | None
) -> None:
    claims = json.dumps({"sub": "1", "iat": issued_at, "exp": opening.now + 60})
    value = jwe.seal_gcm(
        jwe.header(alg="dir", enc=jwe.A256GCM),
        nextauth.Keys([NEXT_SECRET]).ciphers[0],
        bytes(nextauth.IV_BYTES),
        claims.encode(),
    )
    held = await opening.source.get(opening.key(f"{NEXT_COOKIE}={value}"))
    assert held is not None
    assert held.session.touched_at == (opening.now if touched is None else touched)


@pytest.mark.parametrize(
    ("kind", "leeway"),
    [(Kind.NEXTAUTH, TOLERANCE), (Kind.AUTHJS, TOLERANCE), (Kind.IRON, SKEW), (Kind.EXPRESS, 0.0)],
)
def test_the_leeway_is_that_of_the_codec(kind: Kind, leeway: float) -> None:
    assert replace(CONFIG, kind=kind).leeway == leeway


async def test_the_end_that_is_told_is_the_one_that_it_names(opening: Opening) -> None:
    held = await opening.source.get(opening.key(next_cookie(sub="1", max_age=100.0)))
    assert held is not None
    assert held.session.told_end == int(opening.now) + 100
    assert held.session.expires_at == int(opening.now) + 115
