from __future__ import annotations

from collections.abc import Callable

import pytest

from gateway.rules.breaker import (
    Breaker,
    State,
    answered,
    failed,
    probe_failed,
    probing,
)

CLOSED = Breaker()
SHAKEN = Breaker(failures=1)
PROBED_AT_8 = Breaker(state=State.OPEN, pause=0.1, probe_at=8.0)
PROBING = Breaker(state=State.PROBING, pause=0.1, probe_at=8.0)


@pytest.mark.parametrize(
    ("before", "event", "now", "after"),
    [
        pytest.param(CLOSED, answered, None, CLOSED, id="an answer leaves it closed"),
        pytest.param(CLOSED, failed, 7.0, SHAKEN, id="one failure may be a connection's"),
        pytest.param(SHAKEN, answered, None, CLOSED, id="an answer between counts from the start"),
        pytest.param(
            SHAKEN,
            failed,
            7.0,
            Breaker(state=State.OPEN, pause=0.1, probe_at=7.1),
            id="the second in a row opens it, and a probe is due soon",
        ),
        pytest.param(
            PROBED_AT_8, failed, 9.0, PROBED_AT_8, id="late failures do not put the probe off"
        ),
        pytest.param(PROBED_AT_8, answered, None, CLOSED, id="a late answer closes it"),
        pytest.param(PROBED_AT_8, probing, 7.9, None, id="no probe before its time"),
        pytest.param(PROBED_AT_8, probing, 8.0, PROBING, id="a probe at its time"),
        pytest.param(CLOSED, probing, 8.0, None, id="no probe while it is closed"),
        pytest.param(PROBING, probing, 9.0, None, id="one probe at a time"),
        pytest.param(PROBING, failed, 9.0, PROBING, id="late failures do not end a probe"),
        pytest.param(PROBING, answered, None, CLOSED, id="a probe that is answered closes it"),
        pytest.param(
            PROBING,
            probe_failed,
            9.0,
            Breaker(state=State.OPEN, pause=0.2, probe_at=9.2),
            id="the next probe waits twice as long",
        ),
        pytest.param(
            Breaker(state=State.PROBING, pause=0.4, probe_at=8.0),
            probe_failed,
            9.0,
            Breaker(state=State.OPEN, pause=0.5, probe_at=9.5),
            id="but never longer than half a second",
        ),
        pytest.param(CLOSED, probe_failed, 9.0, CLOSED, id="a probe that others have overtaken"),
    ],
)
def test_what_follows(
    before: Breaker,
    event: Callable[..., Breaker | None],
    now: float | None,
    after: Breaker | None,
) -> None:
    assert (event(before) if now is None else event(before, now)) == after


@pytest.mark.parametrize("store_timeout", [0.05, 1.0])
@pytest.mark.parametrize("back_at", [round(0.13 * n, 2) for n in range(40)])
def test_a_store_that_is_back_is_seen_within_two_seconds(
    back_at: float, store_timeout: float
) -> None:
    breaker = failed(failed(CLOSED, 0.0), 0.0)
    while True:
        began = breaker.probe_at
        probe = probing(breaker, began)
        assert probe is not None
        # What hangs answers once it is back; what refuses says so at once, and that is faster.
        seen = max(began, back_at)
        if seen <= began + store_timeout:
            break
        breaker = probe_failed(probe, began + store_timeout)
    assert seen - back_at < 2.0


def test_it_probes_for_as_long_as_it_takes() -> None:
    breaker = failed(failed(CLOSED, 0.0), 0.0)
    for _ in range(5000):  # of hours
        probe = probing(breaker, breaker.probe_at)
        assert probe is not None
        breaker = probe_failed(probe, breaker.probe_at + 1.0)
    assert breaker.pause == 0.5
