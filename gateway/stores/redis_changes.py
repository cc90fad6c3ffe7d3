"""Hear of every change to the sessions in Redis, whoever makes it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from typing import Any

import structlog

from gateway.model import SessionKey
from gateway.redis.link import Command, RedisLink, Refused, connect
from gateway.redis.node import Node
from gateway.redis.servers import Servers
from gateway.stores.protocol import Watcher
from gateway.stores.redis_layout import PREFIX
from gateway.stores.watchers import Watchers

log = structlog.get_logger()

_HEARTBEAT = 1.0
_LOOK_AGAIN = 0.2
_RETRY_FIRST = 0.05
_RETRY_LAST = 1.0


class Changes:
    """Redis's own server-assisted invalidation, in broadcasting mode, on a connection of its own to
    each primary.

    Redis names each key below the prefix that anybody changes, deletes, or lets expire; our own
    touches as well, so each costs every process that holds the session one more read of it. A
    connection that leaves a heartbeat unanswered is lost. Until every primary is heard again,
    nothing held counts as true; nor does it when the sessions are spread over them anew.

    Args:
        prefix: What the names of all entries begin with; empty: every name on the server counts.
        keys: Says of which sessions the copies are true no longer, when the entry with this name
            has changed (without the prefix). None: of the one with this key.

    Source: https://redis.io/docs/latest/develop/reference/client-side-caching/
    """

    def __init__(
        self,
        servers: Servers,
        timeout: float,
        *,
        prefix: str = PREFIX,
        keys: Callable[[str], Iterable[SessionKey]] | None = None,
    ) -> None:
        self._servers = servers
        self._timeout = timeout
        self._prefix = prefix
        self._keys = keys
        self._watchers = Watchers()
        self._ears: dict[Node, _Ear] = {}
        self._task: asyncio.Task[None] | None = None
        self._heard = False
        servers.on_change(self._moved)

    def watch(self, watcher: Watcher) -> None:
        """Tell this watcher of every change from now on."""
        self._watchers.add(watcher)
        if self._task is None:
            self._task = asyncio.create_task(self._look_round(), name="redis-changes")
        elif self._heard:
            watcher.trust(True)

    def tell(self, key: SessionKey) -> None:
        """Pass on at once what this process itself has changed."""
        self._watchers.changed(key)

    def tell_all(self) -> None:
        """Let no copy from before this moment count as true."""
        self._watchers.all_changed()

    async def close(self) -> None:
        """Stop. Safe to call twice."""
        tasks = [ear.task for ear in self._ears.values()]
        if self._task is not None:
            tasks.append(self._task)
            self._task = None
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self._ears.clear()
        self._judge()
        self._watchers.clear()

    async def _look_round(self) -> None:
        while True:
            with contextlib.suppress(OSError, Refused):  # who needs the servers will say so
                await self._servers.refresh()
            self._follow()
            await asyncio.sleep(_HEARTBEAT if self._heard else _LOOK_AGAIN)

    def _moved(self) -> None:
        if self._task is not None:
            self._distrust()
            self._follow()

    def _follow(self) -> None:
        primaries = self._servers.primaries()
        for node in self._ears.keys() - set(primaries):
            self._ears.pop(node).task.cancel()
        for node in primaries:
            if node not in self._ears:
                self._ears[node] = _Ear(
                    node,
                    self._servers,
                    self._timeout,
                    tracking=_tracking(self._prefix),
                    understand=self._understand,
                    judge=self._judge,
                )
        self._judge()

    def _judge(self) -> None:
        heard = bool(self._ears) and all(ear.hears for ear in self._ears.values())
        if heard != self._heard:
            self._heard = heard
            self._watchers.trust(heard)

    def _distrust(self) -> None:
        if self._heard:
            self._heard = False
            self._watchers.trust(False)

    def _understand(self, message: list[Any]) -> None:
        if message[0] != b"invalidate":
            return
        if message[1] is None:  # FLUSHALL, FLUSHDB
            self.tell_all()
            return
        for raw in message[1]:
            name = raw.decode(errors="replace").removeprefix(self._prefix)
            for key in (SessionKey(name),) if self._keys is None else self._keys(name):
                self.tell(key)


def _tracking(prefix: str) -> Command:
    everything: Command = ("CLIENT", "TRACKING", "ON", "BCAST")
    return (*everything, "PREFIX", prefix) if prefix else everything


class _Ear:
    """Listens to one server, and again whenever the connection was lost.

    Args:
        tracking: Asks for what is to be heard.
        judge: Called when ``hears`` has changed.
    """

    def __init__(
        self,
        node: Node,
        servers: Servers,
        timeout: float,
        *,
        tracking: Command,
        understand: Callable[[list[Any]], None],
        judge: Callable[[], None],
    ) -> None:
        self.hears = False
        self._node = node
        self._servers = servers
        self._timeout = timeout
        self._tracking = tracking
        self._understand = understand
        self._judge = judge
        self._retry = _RETRY_FIRST
        self.task = asyncio.create_task(self._listen(), name="redis-ear")

    async def _listen(self) -> None:
        reported = False
        while True:
            try:
                await self._hear()
            except (OSError, Refused) as exc:
                if not reported or self._retry == _RETRY_FIRST:
                    log.warning("changes_not_heard", store="redis", error=str(exc))
                    reported = True
            await asyncio.sleep(self._retry)
            self._retry = min(self._retry * 2, _RETRY_LAST)

    async def _hear(self) -> None:
        lost = asyncio.Event()

        def deaf() -> None:
            self._set(False)  # at once, not only at the next heartbeat
            lost.set()

        async with asyncio.timeout(self._timeout):
            link = await connect(
                self._node.address,
                self._node.greeting,
                pushed=self._understand,
                lost=deaf,
                then=[self._tracking],
            )
        try:
            await self._beat(link)
            self._set(True)
            self._retry = _RETRY_FIRST
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_HEARTBEAT):
                        await lost.wait()
                await self._beat(link)
        finally:
            self._set(False)
            await link.close()

    async def _beat(self, link: RedisLink) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                [answer] = await link.ask(self._servers.heartbeat)
        except TimeoutError:
            raise TimeoutError("no sign of life") from None
        if not self._servers.is_well(answer):
            raise ConnectionError("the server is no primary that can be believed any more")

    def _set(self, hears: bool) -> None:
        if self.hears != hears:
            self.hears = hears
            self._judge()
