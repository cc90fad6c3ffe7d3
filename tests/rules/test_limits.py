from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.model import Access, Caller, CountedBy, RateLimit, Route, SessionId, User
from gateway.rules.limits import Window, key, told, wait


def limit(requests: int, window: int, by: CountedBy = CountedBy.USER) -> RateLimit:
    return RateLimit(requests=requests, window=window, by=by)


@pytest.mark.parametrize(
    ("quota", "window", "seconds"),
    [
        pytest.param(limit(10, 60), Window(0, 0, 60.0), 0.0, id="the first"),
        pytest.param(limit(10, 60), Window(0, 9, 1.0), 0.0, id="the last"),
        pytest.param(limit(10, 60), Window(0, 10, 12.0), 12.001, id="one too many"),
        pytest.param(limit(10, 60), Window(10, 0, 59.9), 0.0, id="the next window begins"),
        pytest.param(limit(10, 60), Window(10, 5, 45.0), 15.001, id="half of each"),
        pytest.param(limit(10, 60), Window(10, 5, 29.0), 0.0, id="later in the window"),
        pytest.param(limit(10, 60), Window(10, 10, 20.0), 20.001, id="the next one has room"),
        pytest.param(limit(10, 60), Window(0, 20, 20.0), 50.001, id="after a quota was lowered"),
        pytest.param(limit(1, 1), Window(0, 1, 0.5), 0.501, id="one a second"),
    ],
)
def test_wait(quota: RateLimit, window: Window, seconds: float) -> None:
    assert wait(quota, window) == pytest.approx(seconds)


QUOTAS = st.builds(limit, st.integers(1, 1000), st.integers(1, 86400))


@st.composite
def refused(draw: st.DrawFn) -> tuple[RateLimit, Window]:
    quota = draw(QUOTAS)
    before, now = draw(st.integers(0, 2 * quota.requests)), draw(st.integers(0, quota.requests))
    left = draw(st.floats(0.001, quota.window))
    window = Window(before, now, left)
    assume(wait(quota, window) > 0)
    return quota, window


def after(quota: RateLimit, window: Window, seconds: float) -> Window:
    """Return how the same counts stand later."""
    if seconds < window.left:
        return window._replace(left=window.left - seconds)
    left = window.left + quota.window - seconds
    return Window(window.now, 0, left) if left > 0 else Window(0, 0, float(quota.window))


@given(refused())
def test_who_waits_as_long_as_told_may_pass(case: tuple[RateLimit, Window]) -> None:
    quota, window = case
    assert wait(quota, after(quota, window, wait(quota, window) + 0.001)) == 0


@given(refused(), st.floats(0.0, 0.999))
def test_who_waits_less_may_not(case: tuple[RateLimit, Window], part: float) -> None:
    quota, window = case
    seconds = wait(quota, window) - 0.002
    assume(seconds > 0)
    assert wait(quota, after(quota, window, seconds * part)) > 0


@pytest.mark.parametrize(
    ("seconds", "whole"), [(0.001, "1"), (1.0, "1"), (1.001, "2"), (59.2, "60")]
)
def test_clients_are_told_in_whole_seconds_never_too_few(seconds: float, whole: str) -> None:
    assert dict(told(limit(100, 60), seconds)) == {
        "Retry-After": whole,
        "RateLimit-Policy": '"route";q=100;w=60',
        "RateLimit": f'"route";r=0;t={whole}',
    }


# --- who is counted ------------------------------------------------------------------------------

ROUTE = Route(id="/api/**", access=Access.LOGIN)


def somebody(user: str, provider: str = "local") -> Caller:
    return Caller(user=User(id=user, provider=provider), roles=frozenset(), permissions=frozenset())


def counted(
    by: CountedBy,
    *,
    caller: Caller | None = None,
    session: str | None = None,
    client: str = "192.0.2.1",
    route: Route = ROUTE,
) -> str:
    return key(
        route,
        limit(1, 1, by),
        caller=caller,
        session=None if session is None else SessionId(session),
        client=client,
    )


ADA, GRACE = somebody("ada"), somebody("grace")
USER, SESSION, ADDRESS = CountedBy.USER, CountedBy.SESSION, CountedBy.ADDRESS


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(
            counted(USER, caller=ADA, session="1", client="192.0.2.1"),
            counted(USER, caller=ADA, session="2", client="192.0.2.2"),
            id="a user, wherever they are",
        ),
        pytest.param(
            counted(SESSION, caller=ADA, session="1", client="192.0.2.1"),
            counted(SESSION, caller=ADA, session="1", client="192.0.2.2"),
            id="a session, wherever it is",
        ),
        pytest.param(
            counted(ADDRESS, caller=ADA, session="1"),
            counted(ADDRESS, caller=GRACE, session="2"),
            id="an address, whoever is there",
        ),
        pytest.param(counted(USER), counted(ADDRESS), id="nobody, by address"),
        pytest.param(counted(SESSION), counted(ADDRESS), id="no session, by address"),
        pytest.param(
            counted(ADDRESS, client="2001:db8::1"),
            counted(ADDRESS, client="2001:db8::ffff:2"),
            id="one network of IPv6",
        ),
    ],
)
def test_these_count_together(one: str, other: str) -> None:
    assert one == other


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(counted(USER, caller=ADA), counted(USER, caller=GRACE), id="users"),
        pytest.param(
            counted(USER, caller=ADA),
            counted(USER, caller=somebody("ada", "corp")),
            id="users of two providers",
        ),
        pytest.param(counted(SESSION, session="1"), counted(SESSION, session="2"), id="sessions"),
        pytest.param(counted(ADDRESS), counted(ADDRESS, client="192.0.2.2"), id="addresses"),
        pytest.param(
            counted(ADDRESS, client="2001:db8::1"),
            counted(ADDRESS, client="2001:db8:0:1::1"),
            id="two networks of IPv6",
        ),
        pytest.param(
            counted(USER, caller=somebody("192.0.2.1")),
            counted(ADDRESS),
            id="a user like an address",
        ),
        pytest.param(
            counted(ADDRESS),
            counted(ADDRESS, route=Route(id="/other", access=Access.PUBLIC)),
            id="routes",
        ),
        pytest.param(counted(ADDRESS, client=""), counted(ADDRESS), id="a Unix socket"),
    ],
)
def test_these_do_not(one: str, other: str) -> None:
    assert one != other


@given(st.text(), st.text())
def test_no_name_is_too_strange_and_none_is_told(user: str, client: str) -> None:
    name = counted(USER, caller=somebody(user), client=client)
    assert len(name) == 36
    assert set(name) <= set("0123456789abcdef")
