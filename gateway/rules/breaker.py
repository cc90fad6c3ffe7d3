"""Whether a store that fails is asked at all, so that a slow one does not hold every request.

Closed, every request may ask. Open, none may: a single probe tries again and again, and the first
answer, whoever gets it, closes the breaker.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

FAILURES = 2
"""So many in a row open it: one may have been the fault of a single connection."""
FIRST_PAUSE = 0.1
"""Seconds before the first probe; each further one waits twice as long. Short at first, since a
breaker that opened for little must cost little."""
LONGEST_PAUSE = 0.5
"""With a probe of a second, a store that is back is seen within two."""


class State(StrEnum):
    """What may be asked of the store."""

    CLOSED = "closed"
    OPEN = "open"
    """Nothing; a probe is due at some time."""
    PROBING = "probing"
    """Nothing; a probe is under way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """How a store has done lately."""

    state: State = State.CLOSED
    failures: int = 0
    """In a row, while it is closed."""
    pause: float = 0.0
    """While it is open: how long it waits between the last failure and the next probe."""
    probe_at: float = 0.0
    """While it is open: when that probe is due."""


def failed(breaker: Breaker, now: float) -> Breaker:
    """Return what follows from a request that the store did not answer."""
    if breaker.state is not State.CLOSED:
        return breaker  # it was asked before the breaker opened, and says nothing new
    failures = breaker.failures + 1
    return Breaker(failures=failures) if failures < FAILURES else _open(FIRST_PAUSE, now)


def answered(breaker: Breaker) -> Breaker:
    """Return what follows from an answer: whatever was, the store can be asked."""
    closed = breaker.state is State.CLOSED and not breaker.failures
    return breaker if closed else Breaker()


def probing(breaker: Breaker, now: float) -> Breaker | None:
    """Return what follows from the beginning of a probe; None while none is due."""
    if breaker.state is not State.OPEN or now < breaker.probe_at:
        return None
    return replace(breaker, state=State.PROBING)


def probe_failed(breaker: Breaker, now: float) -> Breaker:
    """Return what follows from a probe that the store did not answer."""
    if breaker.state is not State.PROBING:
        return breaker  # somebody else was answered meanwhile
    return _open(min(breaker.pause * 2, LONGEST_PAUSE), now)


def _open(pause: float, now: float) -> Breaker:
    return Breaker(state=State.OPEN, pause=pause, probe_at=now + pause)
