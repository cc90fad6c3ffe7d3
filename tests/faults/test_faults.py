"""Upstreams fail in every way they know, under load: what clients may meet, and what never happens.

Real processes; 200 requests a second to the upstream that fails, of all kinds and for several
users, at a fixed rate whatever becomes of those before, and a few to another upstream of the same
gateway. Four seconds of each fault, several scenarios at a time; a minute each with
``GATEWAY_FAULTS=60`` (``make faults``), with a line about each.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.faults.conftest import SignedIn
from tests.faults.load import Outcome
from tests.faults.run import RATE, RECOVERY, Report, run
from tests.faults.scenarios import ONE, SEVERAL, Scenario

SECONDS = float(os.environ.get("GATEWAY_FAULTS", "4"))
AT_ONCE = 5 if SECONDS < 10 else 3
SLACK = 1.0
"""Seconds by which a limit may be overrun where one machine does everything at once."""
MIB = 1 << 20
GROWTH = 24 * MIB
"""What hundreds of connections at once, and header sections that are remembered, may leave. It ends
there: an upstream that drips leaves 12 MiB after 20 s, 17.6 after a minute, 18.2 after 150 s."""

SCENARIOS = ONE + SEVERAL


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def reports(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    signed_in: SignedIn,
) -> AsyncIterator[dict[Scenario, Report | BaseException]]:
    """What was seen in each scenario that a selected test asks about."""
    folder = tmp_path_factory.mktemp("faults")
    places = asyncio.Semaphore(AT_ONCE)
    wanted = {
        item.callspec.params["scenario"]
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.path == request.path
    }

    async def one(scenario: Scenario) -> Report:
        async with places:
            own = folder / str(SCENARIOS.index(scenario))
            return await run(scenario, own, SECONDS, store=signed_in.store, users=signed_in.users)

    scenarios = [scenario for scenario in SCENARIOS if scenario in wanted]
    found = await asyncio.gather(*map(one, scenarios), return_exceptions=True)
    for report in found:
        if isinstance(report, Report):
            print(report.line())
    yield dict(zip(scenarios, found, strict=True))


@pytest.fixture(params=SCENARIOS, ids=str)
def scenario(request: pytest.FixtureRequest) -> Scenario:
    chosen: Scenario = request.param
    return chosen


@pytest.fixture
def report(reports: dict[Scenario, Report | BaseException], scenario: Scenario) -> Report:
    report = reports[scenario]
    if isinstance(report, BaseException):
        raise report
    return report


def test_every_answer_is_the_right_one_or_plainly_none(report: Report) -> None:
    """Nobody gets a piece of another's answer, nor a short one that looks whole."""
    wrong = {Outcome.WRONG, Outcome.LOST, Outcome.REFUSED}
    assert [result for result in report.results if result.outcome in wrong] == []


def test_clients_meet_what_is_documented(report: Report, scenario: Scenario) -> None:
    met = {label for label in report.count() if label != Outcome.WHOLE}
    too_slow = {"504"} if report.starved else set()
    assert scenario.meets <= met <= scenario.meets | scenario.may_meet | too_slow


def test_nobody_waits_longer_than_the_timeouts_say(report: Report, scenario: Scenario) -> None:
    slack = SLACK + report.stall
    assert max(result.told_after for result in report.results) < scenario.head_limit + slack
    assert max(result.took for result in report.results) < scenario.limit + slack


def test_no_post_is_sent_twice_and_nothing_three_times(report: Report) -> None:
    times = {
        method: [count for (seen, _), count in report.seen.items() if seen == method]
        for method in ("POST", "GET", "HEAD", "PUT")
    }
    assert max(times["POST"]) == 1
    assert max(times["GET"] + times["HEAD"] + times["PUT"]) <= 2


def test_what_may_be_repeated_is(report: Report, scenario: Scenario) -> None:
    repeatable = [result for result in report.during if result.kind.repeatable]
    failed = [result for result in repeatable if result.outcome is not Outcome.WHOLE]
    if report.starved:
        failed = [result for result in failed if result.status != 504]
    assert failed == [] or not scenario.repeats


def test_others_do_most_of_the_work_of_a_target_that_fails(
    report: Report, scenario: Scenario
) -> None:
    whole = sum(result.outcome is Outcome.WHOLE for result in report.during)
    assert whole >= scenario.least * len(report.during)
    assert report.ejected <= {report.faulty}
    assert report.ejected or not scenario.ejects


def test_another_upstream_is_not_disturbed(report: Report) -> None:
    assert {result.outcome for result in report.beside} == {Outcome.WHOLE}
    assert max(result.took for result in report.beside) < SLACK + report.stall


def test_it_recovers_by_itself(report: Report) -> None:
    later = [result for result in report.results if result.due > report.ended + RECOVERY]
    assert len(later) >= RATE / 2
    assert {result.outcome for result in later} == {Outcome.WHOLE}


def test_nothing_stays_behind(report: Report) -> None:
    assert report.after.descriptors == report.before.descriptors < report.peak.descriptors
    assert report.after.memory < report.before.memory + GROWTH


def test_the_log_says_what_clients_saw(report: Report) -> None:
    for result in report.results:
        [(status, reason)] = report.log[result.nonce]
        assert status == result.status
        assert (reason == "ok") == (result.outcome is Outcome.WHOLE)
