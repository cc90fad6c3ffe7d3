"""How Redis on several servers goes away and comes back."""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager

from tests.redis_topology import RedisCluster, RedisSentinels
from tests.servers import wait_until
from tests.stores_faults.scenario import Scenario


class Sentinels(Scenario):
    def __init__(self, how: str) -> None:
        self._how = how
        self._redis = RedisSentinels()
        self._old = self._redis.servers[0]
        self.url = self._redis.url

    def running(self) -> AbstractContextManager[object]:
        return self._redis

    async def settled(self) -> None:
        await wait_until(self._redis.primary().replicated)

    async def lose(self, key: str) -> None:
        self._old = await asyncio.to_thread(self._redis.primary)
        if self._how == "killed":
            self._old.kill()
        elif self._how == "paused":
            self._old.pause()
        else:
            await asyncio.to_thread(self._redis.fail_over)

    async def regain(self, after: float) -> None:
        [new] = [server for server in self._redis.servers if server is not self._old]

        async def taken_over() -> bool:
            # Asked only then: whoever is connected while it becomes the primary is cut off.
            if await asyncio.to_thread(self._redis.primary) is not new:
                return False
            return "role:master" in await asyncio.to_thread(new.command, "INFO", "replication")

        await wait_until(taken_over, seconds=15.0, what="another server is primary")

    async def heal(self) -> None:
        if self._how == "killed":
            await asyncio.to_thread(self._old.start)
        elif self._how == "paused":
            self._old.resume()

        async def whole() -> bool:
            return await asyncio.to_thread(self._redis.whole)

        await wait_until(whole, seconds=30.0, what="both servers work again")


class Cluster(Scenario):
    def __init__(self, how: str) -> None:
        self._how = how
        self._redis = RedisCluster(replicas=True)
        self._lost = self._redis.servers[0]
        self.url = self._redis.url

    def running(self) -> AbstractContextManager[object]:
        return self._redis

    async def settled(self) -> None:
        def everywhere() -> bool:
            return all(server.replicated() for server in self._redis.servers)

        await wait_until(everywhere)

    async def lose(self, key: str) -> None:
        self._lost = await asyncio.to_thread(self._redis.owner, key)
        if self._how == "killed":
            self._lost.kill()
        else:
            self._lost.pause()

    async def regain(self, after: float) -> None:
        def whole() -> bool:
            others = [server for server in self._redis.servers if server is not self._lost]
            return all("cluster_state:ok" in s.command("CLUSTER", "INFO") for s in others)

        async def lost() -> bool:
            return not await asyncio.to_thread(whole)

        async def served() -> bool:
            return await asyncio.to_thread(whole)

        await wait_until(lost, seconds=10.0, what="the others notice")
        await wait_until(served, seconds=15.0, what="a replica has taken over")

    async def heal(self) -> None:
        if self._how == "killed":
            await asyncio.to_thread(self._lost.start)
        else:
            self._lost.resume()

        async def whole() -> bool:
            return await asyncio.to_thread(self._redis.whole)

        await wait_until(whole, seconds=30.0, what="all servers work again")
