"""How many connections there may be, altogether and from one address."""

from __future__ import annotations

import pytest

from gateway.server.census import Census
from gateway.server.turned_away import TurnedAway


@pytest.fixture
def turned_away() -> TurnedAway:
    return TurnedAway(lambda *_, **__: None, lambda *_: None)


def test_without_limits_everybody_may_enter(turned_away: TurnedAway) -> None:
    census = Census(turned_away)
    assert all(census.enter("192.0.2.1") for _ in range(1000))
    assert not any(turned_away.counts.values())


def test_one_too_many_is_refused_until_one_leaves(turned_away: TurnedAway) -> None:
    census = Census(turned_away, 2)
    assert [census.enter(address) for address in ("a", "b", "c", "")] == [True, True, False, False]
    census.leave("a")
    assert [census.enter("c"), census.enter("d")] == [True, False]
    assert turned_away.counts["connections"] == 3


def test_addresses_are_counted_apart(turned_away: TurnedAway) -> None:
    census = Census(turned_away, per_address=2)
    assert [census.enter(address) for address in "aababb"] == [True, True, True, False, True, False]
    census.leave("a")
    assert [census.enter("a"), census.enter("a")] == [True, False]
    assert turned_away.counts["connections_per_address"] == 3


def test_peers_without_an_address_are_not_counted_by_it(turned_away: TurnedAway) -> None:
    census = Census(turned_away, per_address=1)
    assert [census.enter("") for _ in range(5)] == [True] * 5
    for _ in range(5):
        census.leave("")


def test_who_was_refused_altogether_is_not_counted_for_the_address(
    turned_away: TurnedAway,
) -> None:
    census = Census(turned_away, 1, per_address=1)
    assert [census.enter("a"), census.enter("b")] == [True, False]
    census.leave("a")
    assert census.enter("b")
