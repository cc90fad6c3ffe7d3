"""Who gets a request is a matter of values: weights, loads, names, what happened before."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rules.balancing import (
    FAILURES,
    LONGEST_EJECTION,
    RETURN,
    Health,
    Standing,
    after_check,
    after_failure,
    after_success,
    in_turn,
    least_loaded,
    share,
    shares,
    sticky,
    usual_from,
)

WEIGHTS = st.lists(st.integers(0, 50), min_size=1, max_size=8).filter(any)
NAMES = [f"http://10.0.0.{number}:8000" for number in range(1, 9)]


def turns(weights: list[int], times: int) -> list[int]:
    credit: tuple[float, ...] = (0.0,) * len(weights)
    chosen = []
    for _ in range(times):
        at, credit = in_turn(credit, weights)
        assert at is not None
        chosen.append(at)
    return chosen


# --- in turn -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weights", "order"),
    [
        pytest.param([1], "aaa", id="one"),
        pytest.param([1, 1, 1], "abcabc", id="alike"),
        pytest.param([2, 1], "abaaba", id="twice the weight, and not twice in a row first"),
        pytest.param([5, 1, 1], "aabacaa", id="spread, as nginx does it"),
        pytest.param([1, 0, 1], "acac", id="zero is never chosen"),
    ],
)
def test_in_turn(weights: list[int], order: str) -> None:
    assert "".join("abc"[at] for at in turns(weights, len(order))) == order


@given(WEIGHTS)
def test_in_turn_everybody_gets_exactly_their_weight(weights: list[int]) -> None:
    counted = Counter(turns(weights, sum(weights)))
    assert [counted[at] for at in range(len(weights))] == weights


@given(WEIGHTS)
def test_in_turn_nobody_gets_ahead_of_their_share_by_more_than_one(weights: list[int]) -> None:
    got, total = Counter[int](), sum(weights)
    for number, at in enumerate(turns(weights, 2 * total), 1):
        got[at] += 1
        # Below one request too many for each other target that may be chosen first.
        assert got[at] - number * weights[at] / total < len(weights)


def test_in_turn_nobody_is_chosen_where_nobody_may_be() -> None:
    assert in_turn((0.5, -0.5), (0.0, 0.0)) == (None, (0.5, -0.5))


def test_who_was_away_does_not_catch_up() -> None:
    credit: tuple[float, ...] = (0.0, 0.0)
    for _ in range(100):
        _, credit = in_turn(credit, (1.0, 0.0))
    back = []
    for _ in range(6):
        at, credit = in_turn(credit, (1.0, 1.0))
        back.append(at)
    assert back == [0, 1, 0, 1, 0, 1]


# --- by load -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loads", "weights", "left"),
    [
        pytest.param([3, 1, 2], [1, 1, 1], (0, 1, 0), id="the one with least to do"),
        pytest.param([1, 1, 2], [1, 1, 1], (1, 1, 0), id="all that have least"),
        pytest.param([4, 1], [4, 1], (4, 1), id="for its weight"),
        pytest.param([3, 1], [4, 1], (4, 0), id="three quarters are less than one"),
        pytest.param([0, 9], [0, 1], (0, 1), id="zero is never chosen, idle or not"),
        pytest.param([0, 0], [0, 0], (0, 0), id="nobody"),
    ],
)
def test_least_loaded(loads: list[int], weights: list[float], left: tuple[float, ...]) -> None:
    assert least_loaded(loads, weights) == left


# --- sticky --------------------------------------------------------------------------------------


@given(st.text(), st.lists(st.integers(0, 9), min_size=8, max_size=8).filter(any))
def test_the_same_affinity_has_the_same_target(affinity: str, weights: list[int]) -> None:
    at = sticky(affinity, NAMES, weights)
    assert at is not None
    assert weights[at] > 0
    assert sticky(affinity, NAMES, weights) == at


def test_a_choice_is_the_same_in_every_process_and_version() -> None:
    chosen = [sticky(str(number), NAMES, [1.0] * 8) for number in range(12)]
    assert chosen == [4, 0, 4, 1, 3, 7, 7, 0, 4, 1, 7, 3]


@given(st.text(), st.integers(0, 7))
def test_only_what_was_on_a_target_that_goes_moves(affinity: str, gone: int) -> None:
    before = sticky(affinity, NAMES, [1.0] * 8)
    after = sticky(affinity, NAMES, [0.0 if at == gone else 1.0 for at in range(8)])
    assert after == before or before == gone


@given(st.text(), st.integers(0, 7), st.floats(0.01, 1.0))
def test_a_weight_that_falls_moves_nothing_else(affinity: str, weak: int, weight: float) -> None:
    before = sticky(affinity, NAMES, [1.0] * 8)
    after = sticky(affinity, NAMES, [weight if at == weak else 1.0 for at in range(8)])
    assert after == before or before == weak


@given(st.text())
def test_the_order_of_the_file_means_nothing(affinity: str) -> None:
    at = sticky(affinity, NAMES, [1.0] * 8)
    turned = sticky(affinity, NAMES[::-1], [1.0] * 8)
    assert at is not None
    assert turned is not None
    assert NAMES[at] == NAMES[::-1][turned]


def test_affinities_spread_by_weight() -> None:
    weights = [1, 2, 5]
    counted = Counter(sticky(f"session-{n}", NAMES[:3], weights) for n in range(8000))
    assert [round(counted[at] / 1000) for at in range(3)] == weights


def test_what_was_on_a_target_spreads_over_the_rest() -> None:
    moved = Counter(
        sticky(f"session-{n}", NAMES[:4], [0.0, 1.0, 1.0, 1.0])
        for n in range(8000)
        if sticky(f"session-{n}", NAMES[:4], [1.0] * 4) == 0
    )
    assert len(moved) == 3
    assert min(moved.values()) > 0.8 * max(moved.values())


def test_nobody_is_chosen_for_an_affinity_where_nobody_may_be() -> None:
    assert sticky("a", NAMES[:2], [0.0, 0.0]) is None


# --- ejection and return -------------------------------------------------------------------------


GOOD = Standing()


def failing(times: int, now: float, standing: Standing = GOOD) -> Standing:
    for _ in range(times):
        standing = after_failure(standing, now)
    return standing


def test_a_target_is_left_alone_after_failures_in_a_row() -> None:
    assert share(1.0, failing(FAILURES - 1, 100.0), 100.0) == 1.0
    assert share(1.0, failing(FAILURES, 100.0), 100.0) == 0.0


def test_a_success_between_failures_forgives_them() -> None:
    standing = after_success(failing(FAILURES - 1, 100.0), 100.0)
    assert share(1.0, failing(FAILURES - 1, 100.0, standing), 100.0) == 1.0


def test_each_further_ejection_lasts_twice_as_long_up_to_a_limit() -> None:
    standing, now, pauses = failing(FAILURES - 1, 0.0), 0.0, []
    for _ in range(9):
        standing = after_failure(standing, now)  # one failure after coming back is enough
        pauses.append(standing.back_at - now)
        now = standing.back_at
    assert pauses == [1, 2, 4, 8, 16, 32, LONGEST_EJECTION, LONGEST_EJECTION, LONGEST_EJECTION]


def test_late_failures_do_not_prolong_an_ejection() -> None:
    ejected = failing(FAILURES, 100.0)
    assert failing(50, 100.5, ejected) == ejected


@pytest.mark.parametrize(
    ("after", "part"),
    [(-0.001, 0.0), (0.0, 0.1), (0.5, 0.1), (RETURN / 2, 0.5), (RETURN, 1.0), (1e6, 1.0)],
)
def test_a_target_comes_back_slowly(after: float, part: float) -> None:
    standing = failing(FAILURES, 100.0)
    assert share(4.0, standing, standing.back_at + after) == pytest.approx(4.0 * part)


@given(st.lists(st.floats(0, 200), min_size=2, max_size=20).map(sorted))
def test_a_share_only_grows_as_time_passes(times: list[float]) -> None:
    standing = failing(FAILURES, 50.0)
    seen = [share(1.0, standing, now) for now in times if now >= 50.0]
    assert all(one <= two for one, two in pairwise(seen))


def test_ejections_are_forgotten_by_who_has_answered_for_a_while() -> None:
    ejected = failing(FAILURES, 100.0)
    soon = after_success(ejected, ejected.back_at + 1.0)
    late = after_success(ejected, ejected.back_at + RETURN)
    assert (soon.ejections, late.ejections) == (1, 0)


def test_a_success_of_a_good_target_changes_nothing() -> None:
    standing = Standing()
    assert after_success(standing, 5.0) is standing


# --- health --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("checks", "ups"),
    [
        pytest.param("+", "+", id="passes at once"),
        pytest.param("-", "-", id="the first one decides"),
        pytest.param("+---", "+++-", id="three failures"),
        pytest.param("+--+--+", "+++++++", id="never three in a row"),
        pytest.param("-++", "--+", id="two passes"),
        pytest.param("-+-++", "----+", id="two in a row"),
        pytest.param("+---++---", "+++--+++-", id="there and back"),
    ],
)
def test_after_check(checks: str, ups: str) -> None:
    health, seen = Health(), ""
    for check in checks:
        health = after_check(health, passed=check == "+", healthy_after=2, unhealthy_after=3)
        seen += "+" if health.up else "-"
    assert seen == ups


def test_an_unchecked_target_is_up() -> None:
    assert Health().up


# --- all together --------------------------------------------------------------------------------

EJECTED = failing(FAILURES, 100.0)


@pytest.mark.parametrize(
    ("ups", "standings", "expected"),
    [
        pytest.param([True, True], [Standing(), Standing()], (2, 3), id="all well"),
        pytest.param([True, False], [Standing(), Standing()], (2, 0), id="one down"),
        pytest.param([True, True], [Standing(), EJECTED], (2, 0), id="one ejected"),
        pytest.param([True, True], [EJECTED, EJECTED], (2, 3), id="all ejected: all are tried"),
        pytest.param([False, True], [Standing(), EJECTED], (0, 3), id="down stays down"),
        pytest.param([False, False], [Standing(), Standing()], (0, 0), id="all down: nobody"),
    ],
)
def test_shares(ups: list[bool], standings: list[Standing], expected: tuple[float, ...]) -> None:
    assert shares([2.0, 3.0], ups, standings, 100.0) == expected


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=1, max_size=5),
    st.floats(0, 300),
)
def test_shares_are_usual_exactly_from_then_on(targets: list[tuple[bool, int]], now: float) -> None:
    ups = [up for up, _ in targets]
    standings = [failing(failures, 100.0) for _, failures in targets]
    weights = [float(at + 1) for at in range(len(targets))]
    since = usual_from(ups, standings)
    if now >= since:
        assert shares(weights, ups, standings, now) == tuple(weights)
    if math.isfinite(since):
        assert any(standing.back_at + RETURN == since for standing in standings)


def test_a_target_that_never_failed_has_always_been_back() -> None:
    assert Standing().back_at == -math.inf
