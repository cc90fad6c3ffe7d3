"""``make scale``: what many sessions cost in each store.

A store with a thousand sessions and one with a million are asked in turns, so that whatever else
the machine does meets both: a lookup, the list of one user's five sessions. Then all but a thousand
of the million expire at once: how fast they go, and how long anybody waits for the store meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import asyncpg
import uvloop

from gateway.formats.token import new_session_id
from gateway.model import Lifetime, Session, SessionKey, User
from gateway.rules.sessions import born, touched
from gateway.stores.postgres import PostgresStore
from gateway.stores.redis import RedisStore
from gateway.stores.sealing import SealedCodec
from gateway.stores.sqlite import SqliteStore
from tests.servers import PostgresServer, RedisServer

FEW = 1000
LIFETIME = Lifetime(max_age=30 * 86400.0, idle_timeout=12 * 3600.0)
EACH = 5
"""Sessions of one user."""
CODEC = SealedCodec(["for measurements only: 32 characters"])
DEVICE = "Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0"
LOOKUPS, LISTS, ROUNDS = 300, 30, 10
BULK = 20_000
EXPIRY = 40.0
"""Seconds that expired sessions are watched going."""

Store = SqliteStore | PostgresStore | RedisStore


class Clock:
    """Moves when told."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


@dataclass
class Subject:
    """A store, and what a measurement needs beyond it."""

    store: Store
    clock: Clock
    fill: Callable[[list[Session]], Awaitable[None]]
    size: Callable[[], Awaitable[int]]
    """Bytes that it takes."""
    left: Callable[[], Awaitable[int]]
    """Sessions that lie there, expired ones as well."""


def sessions(number: int, now: float) -> Iterator[Session]:
    """Make sessions; the keys can be told from their number."""
    for n in range(number):
        user = User(
            id=f"user-{n // EACH}",
            provider="corp",
            name=f"Somebody With A Name {n // EACH}",
            email=f"somebody.{n // EACH}@example.com",
            roles=("reader", "editor"),
        )
        session_id = new_session_id(os.urandom(16))
        yield born(user, key(n), session_id, LIFETIME, now=now, device=DEVICE, address="192.0.2.7")


def key(n: int) -> SessionKey:
    return SessionKey(f"{random.Random(n).getrandbits(256):064x}")


# --- stores --------------------------------------------------------------------------------------


@asynccontextmanager
async def sqlite() -> AsyncIterator[Subject]:
    with tempfile.TemporaryDirectory(prefix="sessions-at-scale-") as folder:
        file = Path(folder) / "sessions.db"
        clock = Clock()
        store = SqliteStore(str(file), timeout=10.0, wall=clock, codec=CODEC, sweep_every=0.5)
        await store.open()

        async def fill(some: list[Session]) -> None:
            marks = ", ".join("?" * 7)
            db = sqlite3.connect(file)
            with db:
                db.executemany(f"INSERT INTO sessions VALUES ({marks})", map(store._row, some))
            db.close()

        async def size() -> int:
            db = sqlite3.connect(file)
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            db.close()
            return file.stat().st_size

        def count() -> int:
            db = sqlite3.connect(file)
            found: int = db.execute("SELECT count(*) FROM sessions").fetchone()[0]
            db.close()
            return found

        async def left() -> int:
            return await asyncio.to_thread(count)

        yield Subject(store, clock, fill, size, left)
        await store.close()


@asynccontextmanager
async def postgresql() -> AsyncIterator[Subject]:
    # As large as operators are told to make it, so that what is in use is in memory.
    with PostgresServer("shared_buffers=2GB", "max_wal_size=4GB") as server:
        clock = Clock()
        store = PostgresStore(server.url, timeout=10.0, wall=clock, codec=CODEC, sweep_every=0.5)
        await store.open()
        connection = await asyncpg.connect(server.url)

        async def fill(some: list[Session]) -> None:
            rows = list(map(store._row, some))
            await connection.copy_records_to_table("gateway_sessions", records=rows)

        async def size() -> int:
            await connection.execute("VACUUM ANALYZE gateway_sessions")
            await connection.execute("CHECKPOINT")
            await connection.execute("CREATE EXTENSION IF NOT EXISTS pg_prewarm")
            await connection.execute(
                "SELECT pg_prewarm(oid) FROM pg_class WHERE relname LIKE 'gateway_sessions%'"
            )
            total: int = await connection.fetchval(
                "SELECT pg_total_relation_size('gateway_sessions')"
            )
            return total

        async def left() -> int:
            count: int = await connection.fetchval("SELECT count(*) FROM gateway_sessions")
            return count

        yield Subject(store, clock, fill, size, left)
        await connection.close()
        await store.close()


@asynccontextmanager
async def redis() -> AsyncIterator[Subject]:
    with RedisServer("--appendonly", "no") as server:
        clock = Clock()
        store = RedisStore(server.url, timeout=10.0, wall=clock, codec=CODEC)
        await store.open()

        async def fill(some: list[Session]) -> None:
            for start in range(0, len(some), 1000):
                await asyncio.gather(*map(store.create, some[start : start + 1000]))

        async def size() -> int:
            for line in server.command("INFO", "memory").splitlines():
                if line.startswith("used_memory_dataset:"):
                    return int(line.partition(":")[2])
            raise AssertionError("no used_memory_dataset")

        async def left() -> int:
            return int(server.command("DBSIZE"))

        yield Subject(store, clock, fill, size, left)
        await store.close()


STORES = {"sqlite": sqlite, "postgresql": postgresql, "redis": redis}


# --- measurements --------------------------------------------------------------------------------


async def fill(subject: Subject, number: int) -> None:
    some = sessions(number, time.time())
    while chunk := list(islice(some, BULK if number > BULK else 200)):
        await subject.fill(chunk)


async def timed(call: Awaitable[object]) -> float:
    began = time.perf_counter()
    await call
    return time.perf_counter() - began


async def lookups(subject: Subject, number: int, times: int) -> tuple[list[float], float]:
    """Return seconds of each lookup, and of CPU for all of them here."""
    keys = [key(random.randrange(number)) for _ in range(times)]
    cpu = time.process_time()
    taken = [await timed(subject.store.load([key])) for key in keys]
    return taken, time.process_time() - cpu


async def lists(subject: Subject, number: int, times: int) -> list[float]:
    users = [f"user-{random.randrange(number // EACH)}" for _ in range(times)]
    return [await timed(subject.store.of_user(user)) for user in users]


async def compare(small: Subject, large: Subject, many: int) -> None:
    found: dict[int, tuple[list[float], list[float], list[float]]] = {
        FEW: ([], [], []),
        many: ([], [], []),
    }
    for number, subject in ((FEW, small), (many, large)):
        await lookups(subject, number, LOOKUPS)  # the first ones prepare statements
        await lists(subject, number, LISTS)
    for _ in range(ROUNDS):
        for number, subject in ((FEW, small), (many, large)):
            taken, cpu = await lookups(subject, number, LOOKUPS)
            found[number][0].extend(taken)
            found[number][1].append(cpu / LOOKUPS)
            found[number][2].extend(await lists(subject, number, LISTS))
    for number, (taken, cpu_each, listed) in found.items():
        print(
            f"  {number:>9,} sessions: lookup {us(taken)}, {statistics.median(cpu_each) * 1e6:.0f}"
            f" µs CPU here; list of a user {us(listed)}, {max(listed) * 1e3:.1f} ms at most"
        )
    few, lots = (statistics.median(found[number][0]) for number in (FEW, many))
    print(f"  lookup among {many:,}: {lots / few:.2f} times that among {FEW:,}")


def us(taken: list[float]) -> str:
    ordered = sorted(taken)
    p99 = ordered[int(len(ordered) * 0.99)]
    return f"{statistics.median(ordered) * 1e6:.0f} µs (p99 {p99 * 1e6:.0f})"


async def expire(subject: Subject, many: int) -> None:
    """Let all but some sessions expire; print how they go, and who waits for it."""
    staying = [
        replace(one, key=SessionKey(f"{n:064x}"), ends_at=one.ends_at + 10 * 86400.0)
        for n, one in enumerate(sessions(FEW, time.time() + 86400.0))
    ]
    await subject.fill(staying)
    # Nothing else happens for a while, so that what is measured is what expiry adds.
    quiet = await waits(subject, staying, lambda: asyncio.sleep(5.0))
    print(f"  at rest, waits for: {quiet}")
    subject.clock.ahead = 86400.0
    # Nobody counts meanwhile: going through a million rows would be what the others wait for.
    busy = await waits(subject, staying, lambda: asyncio.sleep(EXPIRY))
    rate = (many + len(staying) - await subject.left()) / EXPIRY
    print(f"  {many:,} expired, {rate:,.0f} a second go, meanwhile waits for: {busy}")


async def waits(
    subject: Subject, staying: list[Session], meanwhile: Callable[[], Awaitable[None]]
) -> str:
    """Say how long reads, writes and the event loop took at most until that is done."""
    reads: list[float] = []
    writes: list[float] = []
    turns: list[float] = []

    async def read() -> None:
        while True:
            one = random.choice(staying)
            reads.append(await timed(subject.store.load([one.key])))
            await asyncio.sleep(0.002)

    async def write() -> None:
        while True:
            one = random.choice(staying)
            moved = touched(one, LIFETIME, now=subject.clock())
            writes.append(await timed(subject.store.touch(moved)))
            await asyncio.sleep(0.005)

    async def turn() -> None:
        while True:
            turns.append(await timed(asyncio.sleep(0.001)) - 0.001)

    tasks = [asyncio.create_task(one()) for one in (read, write, turn)]
    await meanwhile()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return "; ".join(
        f"{name} {us(taken)}, {max(taken) * 1e3:.1f} ms at most,"
        f" {sum(one > 0.02 for one in taken)} of {len(taken)} over 20 ms"
        for name, taken in (("reads", reads), ("writes", writes), ("the loop", turns))
    )


async def measure(name: str, many: int) -> None:
    async with STORES[name]() as small, STORES[name]() as large:
        print(name)
        await fill(small, FEW)
        before = await large.size()
        await fill(large, many)
        print(f"  {(await large.size() - before) / many:.0f} bytes a session")
        await compare(small, large, many)
        if name != "redis":  # it removes by itself what expired
            await expire(large, many)


def main() -> None:
    parser = argparse.ArgumentParser(prog="make scale", description=__doc__)
    parser.add_argument("stores", nargs="*", choices=[*STORES, "all"], default="all")
    parser.add_argument("--sessions", type=int, default=1_000_000)
    options = parser.parse_args()
    for name in STORES if "all" in options.stores else options.stores:
        uvloop.run(measure(name, options.sessions))


if __name__ == "__main__":
    main()
