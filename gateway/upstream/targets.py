"""Several targets of one upstream, or one with a limit: who gets a request, and when.

The decisions are ``rules.balancing``'s; here is what they are about.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from functools import partial

from gateway.errors import UpstreamBusy, UpstreamDown, UpstreamError, UpstreamProtocol
from gateway.model import Balance, TargetStatus, Upstream
from gateway.rules.balancing import in_turn, least_loaded, shares, sticky, usual_from
from gateway.upstream.connection import UpstreamConnection
from gateway.upstream.deadlines import Deadlines
from gateway.upstream.dialing import Dialer
from gateway.upstream.target import TargetState
from gateway.upstream.waiting import Queue

_TRIES = 3
"""Targets that one request tries to connect to: a client waits no longer than for three."""


class Targets:
    """Lends connections to whichever target should have the request.

    A target with ``max_connections`` requests gets no more; where that holds for all, requests
    wait in the order in which they came. With ``sticky``, a request waits for its own target
    though others may be free: what it looks for may be nowhere else.
    """

    def __init__(
        self,
        upstream: Upstream,
        deadlines: Deadlines,
        dialers: Sequence[Dialer],
        on_change: Callable[..., None],
    ) -> None:
        self.upstream = upstream
        self.total = upstream.timeouts.total
        self.deadlines = deadlines
        self.rehosts = len({target.authority for target in upstream.targets}) > 1
        self._loop = asyncio.get_running_loop()
        self._targets = [
            TargetState(
                upstream,
                deadlines,
                dialer,
                on_change=on_change,
                on_shift=self._shifted,
                on_up=self._admit,
            )
            for dialer in dialers
        ]
        self._names = [target.name for target in self._targets]
        self._weights = [float(target.weight) for target in upstream.targets]
        self._usual_from = 0.0
        self._credits: tuple[float, ...] = (0.0,) * len(self._targets)
        self._sticky = upstream.balance is Balance.STICKY
        self._by_load = upstream.balance is Balance.LEAST_REQUESTS
        self._room = upstream.max_connections
        self._queue = Queue[TargetState](upstream.queue, upstream.queue_timeout, self._release)
        self._lent: dict[UpstreamConnection, TargetState] = {}

    # --- lending -----------------------------------------------------------------------------

    def take(self, *, repeatable: bool) -> UpstreamConnection | None:
        """Return None: every request is a choice."""
        return None

    async def lend(self, affinity: str, *, repeatable: bool) -> UpstreamConnection:
        """Return a connection to the target whose turn it is; to another where that one fails.

        Raises:
            UpstreamDown: The health checks of every target fail.
            UpstreamBusy: No target has room, nor has the queue, or not in time.
            UpstreamUnreachable, UpstreamTimeout: None could be connected to.
        """
        return await self._lend(affinity, (), repeatable=repeatable, kept=True)

    async def instead(
        self, connection: UpstreamConnection, affinity: str
    ) -> UpstreamConnection | None:
        """Return a new connection for a request to which not a byte was answered.

        A kept connection may have been closed before the request came, so that the same target
        may get it again. From a target that closed a new one, it goes to another.
        """
        target = self._lent.get(connection)
        if target is None or not isinstance(connection.failure, UpstreamProtocol):
            return None  # a second wait for an answer would be as long as the first
        tried = () if connection.died_unseen else (target,)
        if not any(self._shares(tried)):
            return None
        self.give_back(connection)
        return await self._lend(affinity, tried, repeatable=True, kept=False)

    async def _lend(
        self, affinity: str, tried: tuple[TargetState, ...], *, repeatable: bool, kept: bool
    ) -> UpstreamConnection:
        while True:
            choose = partial(self._choose, affinity, tried)
            target = choose() or await self._wait(choose)
            try:
                connection = target.pool.take(repeatable=repeatable) if kept else None
                if connection is None:
                    connection = await target.pool.connect()
            except UpstreamError as error:
                target.failed(str(error))
                self._release(target)
                tried = (*tried, target)
                if len(tried) >= _TRIES or not any(self._shares(tried)):
                    raise
            except BaseException:
                self._release(target)
                raise
            else:
                self._lent[connection] = target
                return connection

    def give_back(self, connection: UpstreamConnection) -> None:
        """End a connection's exchange, and learn from how it went."""
        target = self._lent.pop(connection, None)
        if target is None:
            return
        failure = connection.failure
        if isinstance(failure, UpstreamError):
            if not connection.died_unseen:  # to close an idle connection is anybody's right
                target.failed(str(failure))
        elif failure is None and connection.complete:
            target.answered()
        target.pool.give_back(connection)
        self._release(target)

    def authority(self, connection: UpstreamConnection) -> bytes:
        """Return the ``Host`` of the target that a lent connection goes to."""
        return self._lent[connection].authority

    # --- choosing ----------------------------------------------------------------------------

    def _shifted(self) -> None:
        self._usual_from = usual_from(
            [target.health.up for target in self._targets],
            [target.standing for target in self._targets],
        )

    def _shares(self, tried: Collection[TargetState]) -> Sequence[float]:
        if not tried and self._loop.time() >= self._usual_from:
            return self._weights  # measured: 2.4 us less a request
        targets = self._targets
        weights = shares(
            self._weights,
            [target.health.up for target in targets],
            [target.standing for target in targets],
            self._loop.time(),
        )
        pairs = zip(targets, weights, strict=True)
        return [0.0 if target in tried else weight for target, weight in pairs]

    def _choose(self, affinity: str, tried: Collection[TargetState]) -> TargetState | None:
        """Return the target for a request, which then counts as its; None where it has to wait.

        Raises:
            UpstreamDown: There is none to wait for.
        """
        weights = self._shares(tried)
        if not any(weights):
            raise self._down()
        targets, room = self._targets, self._room
        if self._sticky:
            at = sticky(affinity, self._names, weights)
        else:
            if room is not None:
                pairs = zip(targets, weights, strict=True)
                weights = [weight if target.busy < room else 0.0 for target, weight in pairs]
            if self._by_load:
                weights = least_loaded([target.busy for target in targets], weights)
            at, self._credits = in_turn(self._credits, weights)
        if at is None or (room is not None and targets[at].busy >= room):
            return None
        targets[at].busy += 1
        return targets[at]

    def _down(self) -> UpstreamDown:
        check = self.upstream.health
        return UpstreamDown(
            f"upstream {self.upstream.name}: the health checks of every target fail",
            retry_after=1.0 if check is None else check.interval,
        )

    async def _wait(self, choose: Callable[[], TargetState | None]) -> TargetState:
        """Wait for a target with room.

        Raises:
            UpstreamBusy: Too many wait already, or it took too long.
        """
        limit = self.upstream.queue_timeout
        busy = f"upstream {self.upstream.name}: every connection is in use"
        if self._queue.full:
            raise UpstreamBusy(busy, retry_after=limit)
        try:
            return await self._queue.wait(choose)
        except TimeoutError as exc:
            raise UpstreamBusy(f"{busy}, and was for {limit:g} s", retry_after=limit) from exc

    def _release(self, target: TargetState) -> None:
        target.busy -= 1
        self._admit()

    def _admit(self) -> None:
        if self._queue:
            self._queue.admit(in_order=not self._sticky)

    # --- what others may know ----------------------------------------------------------------

    def targets(self) -> list[TargetStatus]:
        """Return how the targets stand."""
        return [target.status() for target in self._targets]

    def counts(self) -> tuple[int, int]:
        """Return how many connections are busy, and how many idle."""
        each = [target.pool.counts() for target in self._targets]
        return sum(busy for busy, _ in each), sum(idle for _, idle in each)

    def waiting(self) -> int:
        """How many requests wait for a connection."""
        return len(self._queue)

    async def problems(self) -> tuple[list[str], bool]:
        """Say which targets cannot be used now and why, and whether one is left."""
        found = await asyncio.gather(*(target.problem() for target in self._targets))
        problems = [problem for problem in found if problem is not None]
        return problems, len(problems) < len(found)

    # --- beginning and end -------------------------------------------------------------------

    def start(self) -> None:
        """Begin to look after the targets."""
        for target in self._targets:
            target.start()

    def close(self) -> None:
        """Close idle connections now, and those in use when they come back."""
        for target in self._targets:
            target.close()
