"""How many connections there may be, altogether and from one address."""

from __future__ import annotations

from gateway.server.census import Census


def test_without_limits_everybody_may_enter() -> None:
    census = Census()
    assert all(census.enter("192.0.2.1") for _ in range(1000))
    assert census.refused == 0


def test_one_too_many_is_refused_until_one_leaves() -> None:
    census = Census(2)
    assert [census.enter(address) for address in ("a", "b", "c", "")] == [True, True, False, False]
    census.leave("a")
    assert [census.enter("c"), census.enter("d")] == [True, False]
    assert census.refused == 3


def test_addresses_are_counted_apart() -> None:
    census = Census(per_address=2)
    assert [census.enter(address) for address in "aababb"] == [True, True, True, False, True, False]
    census.leave("a")
    assert [census.enter("a"), census.enter("a")] == [True, False]


def test_peers_without_an_address_are_not_counted_by_it() -> None:
    census = Census(per_address=1)
    assert [census.enter("") for _ in range(5)] == [True] * 5
    for _ in range(5):
        census.leave("")


def test_who_was_refused_altogether_is_not_counted_for_the_address() -> None:
    census = Census(1, per_address=1)
    assert [census.enter("a"), census.enter("b")] == [True, False]
    census.leave("a")
    assert census.enter("b")
