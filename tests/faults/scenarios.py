"""What can befall an upstream, and what clients may then meet."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from time import monotonic

from tests.faults.processes import UpstreamProcess

CONNECT = 0.5
FIRST_BYTE = 1.0
IDLE = 1.5
TOTAL = 3.0

Fault = Callable[[UpstreamProcess, float], Awaitable[None]]
"""Befalls an upstream for so many seconds, and is over when it returns."""


def saying(fault: str) -> Fault:
    """Return a fault that the upstream is told to have."""

    async def befall(upstream: UpstreamProcess, seconds: float) -> None:
        upstream.become(fault)
        await asyncio.sleep(seconds)
        upstream.become("well")
        await upstream.serves()

    return befall


async def killed(upstream: UpstreamProcess, seconds: float) -> None:
    """Kill it and start it again, over and over."""
    until = monotonic() + seconds
    while monotonic() < until:
        upstream.kill()
        await asyncio.sleep(0.75)
        upstream.start()
        await upstream.serves()
        await asyncio.sleep(min(0.75, max(0.0, until - monotonic())))


async def paused(upstream: UpstreamProcess, seconds: float) -> None:
    """Let it hang for twice as long as it has to answer, over and over."""
    until = monotonic() + seconds
    while monotonic() < until:
        upstream.send_signal(signal.SIGSTOP)
        await asyncio.sleep(2 * FIRST_BYTE)
        upstream.send_signal(signal.SIGCONT)
        await asyncio.sleep(min(0.5, max(0.0, until - monotonic())))


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A fault of one target, and what comes of it for clients."""

    name: str
    befall: Fault
    meets: frozenset[str] = frozenset()
    """What clients meet besides whole answers: statuses, and ``broken`` answers."""
    may_meet: frozenset[str] = frozenset()
    """What they may meet besides, where chance has it."""
    targets: int = 1
    least: float = 0.0
    """The part of the requests during the fault that is answered all the same, at least."""
    repeats: bool = False
    """Whether whatever may be repeated is answered: a new connection is a good one."""
    ejects: bool = False
    """Whether the target is left alone for a while, whatever chance has it meet."""
    total: bool = False
    """Whether the whole exchange has a limit: no other one ends what drips."""
    settings: str = ""
    """Further settings of the upstream."""
    waits: float = 0.0
    """Seconds that these add to how long a request may take."""

    def __str__(self) -> str:
        return self.name if self.targets == 1 else f"{self.name}, one of {self.targets}"

    @property
    def head_limit(self) -> float:
        """Seconds within which a client has the head of an answer."""
        return self.waits + CONNECT + FIRST_BYTE

    @property
    def limit(self) -> float:
        """Seconds within which an answer that makes no progress is over."""
        return TOTAL if self.total else self.head_limit + IDLE


ONE = (
    Scenario(
        name="killed", befall=killed, meets=frozenset({"502"}), may_meet=frozenset({"broken"})
    ),
    Scenario(
        name="paused", befall=paused, meets=frozenset({"504"}), may_meet=frozenset({"broken"})
    ),
    Scenario(
        name="paused, with a queue",
        befall=paused,
        meets=frozenset({"503", "504"}),
        may_meet=frozenset({"broken"}),
        settings="max_connections: 60, queue: 60, queue_timeout: 300ms",
        waits=0.3,
    ),
    Scenario(name="refusing", befall=saying("refusing"), meets=frozenset({"502"})),
    Scenario(name="resetting", befall=saying("resetting"), meets=frozenset({"502", "broken"})),
    Scenario(
        name="dripping", befall=saying("dripping"), meets=frozenset({"504", "broken"}), total=True
    ),
    Scenario(name="answering garbage", befall=saying("garbage"), meets=frozenset({"502"})),
    Scenario(name="closing", befall=saying("closing"), meets=frozenset({"502"}), repeats=True),
)

SEVERAL = tuple(
    replace(
        scenario,
        meets=frozenset(),
        may_meet=scenario.meets | scenario.may_meet,
        targets=3,
        least=0.9 if scenario.name != "closing" else 0.8,
        ejects=scenario.name in ("killed", "refusing", "resetting"),
    )
    for scenario in ONE
    if not scenario.settings
)
