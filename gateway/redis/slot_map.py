"""Ask servers of a Redis Cluster who owns which slots.

Source: https://redis.io/docs/latest/commands/cluster-slots/
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

from gateway.redis.link import Address, Command, Refused
from gateway.redis.node import Node

STATE: Command = ("CLUSTER", "INFO")
_ASKED_AT_ONCE = 3


@dataclass(frozen=True, slots=True)
class SlotMap:
    """What a server says of its Cluster."""

    well: bool
    """Whether it sees a Cluster that works."""
    ranges: tuple[tuple[int, int, Address], ...]
    """First slot, last slot, and their owner; at least one."""


def is_well(state: Any) -> bool:
    """Whether the answer to ``STATE`` tells of a Cluster that works."""
    return isinstance(state, bytes) and b"cluster_state:ok" in state


async def map_of(node: Node) -> SlotMap:
    """Return what a server says.

    Raises:
        OSError, Refused: It says nothing, or is in no Cluster.
    """
    state, ranges = await node.run([STATE, ("CLUSTER", "SLOTS")])
    for answer in (state, ranges):
        if isinstance(answer, Refused):
            raise answer
    owned = [
        (first, last, (host.decode() if host else node.address[0], port))
        for first, last, (host, port, *_), *_ in ranges
    ]
    if not owned:
        raise ConnectionError("the server is in no Cluster")
    return SlotMap(is_well(state), tuple(owned))


async def best_map(
    known: Iterable[Address], ask: Callable[[Address], Awaitable[SlotMap]]
) -> SlotMap:
    """Return what the first server says that sees a working Cluster, or else any of them.

    Raises:
        OSError, Refused: None of them says anything.
    """
    addresses = list(known)
    random.shuffle(addresses)
    error: Exception = ConnectionError("no server of the Cluster answers")
    poor: SlotMap | None = None
    for start in range(0, len(addresses), _ASKED_AT_ONCE):
        chosen = addresses[start : start + _ASKED_AT_ONCE]
        asked = [asyncio.ensure_future(ask(address)) for address in chosen]
        try:
            for answer in asyncio.as_completed(asked):
                try:
                    found = await answer
                except (OSError, Refused) as exc:
                    error = exc
                    continue
                if found.well:
                    return found
                poor = found
        finally:
            for task in asked:
                task.cancel()
            await asyncio.wait(asked)
    if poor is None:
        raise error
    return poor
