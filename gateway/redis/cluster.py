"""Redis Cluster: which server has a session, and what to do when that changes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

from gateway.redis.link import Address, Command, Refused
from gateway.redis.node import Node
from gateway.redis.refresh import Refresh
from gateway.redis.script import Script
from gateway.redis.servers import greeting
from gateway.redis.slot_map import STATE, SlotMap, best_map, is_well, map_of
from gateway.redis.slots import SLOTS, redirection, slot
from gateway.rules.redis_urls import RedisUrl

_REDIRECTIONS = 4
_VISITED_FOR = 60.0


class Cluster:
    """The primaries of a Cluster. A request to several goes to all of them at once.

    Source: https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/
    """

    # A primary that is cut off from most others must not be believed: another one has taken over.
    heartbeat: Command = STATE

    def __init__(self, url: RedisUrl, timeout: float) -> None:
        self._seeds = url.hosts
        self._greeting = greeting(url)
        self._timeout = timeout
        self._nodes: dict[Address, Node] = {}
        self._owners: list[Node] = []
        # Servers that a slot is just moving to answer for it before they own it.
        self._visited: dict[Node, float] = {}
        self._told: list[Callable[[], None]] = []
        self._refresh = Refresh(self._look, "redis-cluster")
        self._closing: set[asyncio.Task[None]] = set()

    def is_well(self, answer: Any) -> bool:
        """Whether the server sees a Cluster that works."""
        return is_well(answer)

    def primaries(self) -> Sequence[Node]:
        """Return the servers that own slots, and those that are about to."""
        return tuple({*self._owners, *self._visited})

    async def values(self, names: Sequence[str]) -> list[Any]:
        """Return what is under each name, with one write to each server.

        Not MGET: its keys would have to be of one slot.
        """
        values = await self.run([("GET", name) for name in names])
        for index, value in enumerate(values):
            if isinstance(value, Refused):
                if value.code != "WRONGTYPE":
                    raise value
                values[index] = None
        return values

    async def run(self, commands: Sequence[Command]) -> list[Any]:
        """Ask those servers that own the keys, wherever these have moved to meanwhile.

        Every command may be carried out twice.
        """
        if not self._owners:
            await self.refresh()
        answers: list[Any] = [None] * len(commands)
        waiting = list(range(len(commands)))
        for attempt in count():
            parts: dict[Node, list[int]] = {}
            for index in waiting:
                parts.setdefault(self._owner(slot(commands[index])), []).append(index)
            results = await asyncio.gather(
                *(node.run([commands[i] for i in part]) for node, part in parts.items()),
                return_exceptions=True,
            )
            waiting = []
            for part, result in zip(parts.values(), results, strict=True):
                if isinstance(result, BaseException):
                    if isinstance(result, OSError):
                        self._refresh.soon()
                    if attempt or not isinstance(result, OSError):
                        raise result
                    if isinstance(result, TimeoutError):  # the time for this request is used up
                        raise result
                    waiting += part
                    continue
                for index, answer in zip(part, result, strict=True):
                    answers[index] = answer
                    if isinstance(answer, Refused) and attempt < _REDIRECTIONS:
                        if answer.code == "MOVED":
                            self._move(answer)
                            waiting.append(index)
                        elif answer.code == "ASK":
                            answers[index] = await self._visit(answer, commands[index])
            if not waiting:
                return answers
            await self.refresh()
        raise AssertionError

    async def ping(self) -> None:
        """Return if some server sees a Cluster in which every slot is served."""
        if not self._owners:
            await self.refresh()
        error: OSError = ConnectionError("the Cluster does not serve every session")
        for node in random.sample(self.primaries(), len(self.primaries())):
            try:
                [answer] = await node.run([self.heartbeat])
            except OSError as exc:
                error = exc
                continue
            if isinstance(answer, Refused):
                raise answer
            if self.is_well(answer):
                return
        raise error

    async def refresh(self) -> None:
        """Ask who owns what; one asks for all who want to know."""
        await self._refresh.now()

    def on_change(self, told: Callable[[], None]) -> None:
        """Call this whenever slots have moved."""
        self._told.append(told)

    async def close(self) -> None:
        """Close every connection."""
        self._told.clear()
        await self._refresh.close()
        for node in list(self._nodes.values()):
            await node.close()
        if self._closing:
            await asyncio.wait(self._closing)

    def _owner(self, at: int) -> Node:
        if not self._owners:
            raise ConnectionError("no server of the Cluster answers")
        return self._owners[at]

    def _node(self, address: Address) -> Node:
        node = self._nodes.get(address)
        if node is None:
            node = self._nodes[address] = Node(address, self._greeting, self._timeout)
        return node

    def _move(self, answer: Refused) -> None:
        # What is learned here is true at once; the rest follows with the next refresh.
        at, address = redirection(answer)
        if not address[0]:
            return  # "the host that you know": the refresh tells
        node = self._node(address)
        if self._owners[at] is not node:
            self._owners[at] = node
            self._tell()

    async def _visit(self, answer: Refused, command: Command) -> Any:
        _, address = redirection(answer)
        node = self._node(address)
        news = node not in self.primaries()
        self._visited[node] = asyncio.get_running_loop().time() + _VISITED_FOR
        if news:
            self._tell()
        if isinstance(command[1], Script):  # as a whole: a second try would have to ask again
            command = ("EVAL", command[1].text, *command[2:])
        return (await node.run([("ASKING",), command]))[1]

    def _tell(self) -> None:
        for told in self._told:
            told()

    async def _look(self) -> None:
        owners = self._owners_in(await best_map({*self._nodes, *self._seeds}, self._map))
        now = asyncio.get_running_loop().time()
        visited = {node: until for node, until in self._visited.items() if until > now}
        if owners == self._owners and visited == self._visited:
            return
        self._owners, self._visited = owners, visited
        for address, node in list(self._nodes.items()):
            if node not in owners and node not in visited:
                del self._nodes[address]
                task = asyncio.create_task(node.close())
                self._closing.add(task)
                task.add_done_callback(self._closing.discard)
        self._tell()

    async def _map(self, address: Address) -> SlotMap:
        node = self._nodes.get(address) or Node(address, self._greeting, self._timeout)
        try:
            async with asyncio.timeout(self._timeout / 2):
                return await map_of(node)
        finally:
            if self._nodes.get(address) is not node:
                await node.close()

    def _owners_in(self, found: SlotMap) -> list[Node]:
        owners: list[Node | None] = [None] * SLOTS
        for first, last, address in found.ranges:
            owners[first : last + 1] = [self._node(address)] * (last + 1 - first)
        # Slots that nobody owns: whoever is asked says so itself.
        someone = next(filter(None, owners))
        return [owner or someone for owner in owners]
