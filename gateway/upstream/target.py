"""One target among several: its connections, what it is doing, and how it stands."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gateway.model import HealthCheck, TargetStatus, Upstream
from gateway.rules.balancing import (
    Health,
    Standing,
    after_check,
    after_failure,
    after_success,
)
from gateway.upstream.deadlines import Deadlines
from gateway.upstream.dialing import Dialer
from gateway.upstream.health import Checks
from gateway.upstream.pool import Pool


class TargetState:
    """Keeps what the rules of balancing need to know of a target.

    Args:
        on_change: Told what happened to the target, for the operator.
        on_shift: Called when ``standing`` or ``health`` is another than before.
        on_up: Called when its health checks pass again.
    """

    __slots__ = (
        "_check",
        "_checks",
        "_loop",
        "_on_change",
        "_on_shift",
        "_on_up",
        "_upstream",
        "_why_not",
        "authority",
        "busy",
        "health",
        "name",
        "pool",
        "standing",
    )

    def __init__(
        self,
        upstream: Upstream,
        deadlines: Deadlines,
        dialer: Dialer,
        *,
        on_change: Callable[..., None],
        on_shift: Callable[[], None],
        on_up: Callable[[], None],
    ) -> None:
        self.pool = Pool(upstream, deadlines, dialer)
        self.name = str(dialer.target)
        self.authority = dialer.target.authority.encode()
        self.busy = 0
        """Requests that it was chosen for."""
        self.standing = Standing()
        self.health = Health()
        self._why_not = ""
        self._upstream = upstream.name
        self._on_change = on_change
        self._on_shift = on_shift
        self._on_up = on_up
        self._loop = asyncio.get_running_loop()
        self._check: HealthCheck | None = upstream.health
        self._checks: Checks | None = None
        if self._check is not None:
            self._checks = Checks(self._check, dialer, deadlines, self.checked)

    def start(self) -> None:
        """Begin the health checks."""
        self.pool.start()
        if self._checks is not None:
            self._checks.start()

    def close(self) -> None:
        """Stop checking; close idle connections now, and those in use when they come back."""
        if self._checks is not None:
            self._checks.close()
        self.pool.close()

    # --- what is learned of it ---------------------------------------------------------------

    def failed(self, why: str) -> None:
        """Note that a request got no connection, or no answer that is one."""
        before, now = self.standing, self._loop.time()
        self.standing = after_failure(before, now)
        self._why_not = why
        self._on_shift()
        if self.standing.ejections > before.ejections:
            self._tell("target ejected", why=why, seconds=self.standing.back_at - now)

    def answered(self) -> None:
        """Note that a request was answered."""
        before = self.standing
        if before.failures or before.ejections:
            self.standing = after_success(before, self._loop.time())
            self._on_shift()

    def checked(self, why: str | None) -> None:
        """Note the outcome of a health check."""
        check = self._check
        if check is None:
            return
        was_up = self.health.up
        self.health = after_check(
            self.health,
            passed=why is None,
            healthy_after=check.healthy_after,
            unhealthy_after=check.unhealthy_after,
        )
        if why is not None:
            self._why_not = why
        if self.health.up and not was_up:
            self.standing = Standing(back_at=self._loop.time())  # it comes back slowly
            self._tell("target up")
            self._on_shift()
            self._on_up()
        elif was_up and not self.health.up:
            self._tell("target down", why=why)
            self._on_shift()

    def _tell(self, event: str, **fields: object) -> None:
        self._on_change(event, upstream=self._upstream, target=self.name, **fields)

    # --- what others may know ----------------------------------------------------------------

    def status(self) -> TargetStatus:
        """Return how it stands."""
        chosen = self.health.up and self._loop.time() >= self.standing.back_at
        return TargetStatus(
            target=self.name, busy=self.busy, why_not=None if chosen else self._why_not
        )

    async def problem(self) -> str | None:
        """Say why it cannot be used now: as its health checks have it, else by connecting."""
        if self._checks is None:
            return await self.pool.problem()
        if self.health.up:
            return None
        return f"upstream {self._upstream}: {self.name}: {self._why_not}"
