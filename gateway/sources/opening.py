"""The one place that knows all kinds of sources: from the configuration to what is open."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from gateway.config.accepted import Accepted, Kind
from gateway.errors import StoreError, StoreUnavailable
from gateway.rules import postgres_urls
from gateway.sources.described import Describing
from gateway.sources.protocol import Source
from gateway.stores.foreign.protocol import SessionOf
from gateway.stores.protocol import LookupStore

Count = Callable[[str, str], None]
"""Told a source's name, and how a cookie of it was judged."""


class Sources:
    """The open sources of a process. One whose configuration stays the same goes on.

    Args:
        cache: Whether copies are kept of what stores hold.
        timeout: Seconds that a store may take to answer.
        wall: Returns Unix seconds.
        opened: Told of each source that is new.
    """

    def __init__(
        self,
        *,
        cache: bool,
        timeout: float,
        wall: Callable[[], float],
        count: Count,
        opened: Callable[[Source], None],
    ) -> None:
        self._opened = opened
        self._leaving: dict[Source, asyncio.TimerHandle] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._cache = cache
        self._timeout = timeout
        self._wall = wall
        self._count = count
        self._open: list[Source] = []

    async def open(self, accept: Iterable[Accepted]) -> tuple[Source, ...]:
        """Return the sources of a configuration; those that were open for another one stay.

        Raises:
            StoreError: One cannot be opened, and none that is new stays open.
        """
        new: list[Source] = []
        found = []
        try:
            for config in accept:
                source = next((one for one in self._open if one.config == config), None)
                if source is None:
                    source = self._source(config)
                    new.append(source)
                    try:
                        await source.open()
                    except StoreError as exc:
                        message = f"session.accept: the sessions of {config.name}: {exc}"
                        raise StoreUnavailable(message) from exc
                found.append(source)
        except BaseException:
            for source in new:
                await source.close()
            raise
        self._open += new
        for source in new:
            self._opened(source)
        return tuple(found)

    def keep(self, sources: Sequence[Source]) -> None:
        """Close all others, once those who have asked them already have an answer."""
        loop = asyncio.get_running_loop()
        for source in self._open:
            if source not in sources:
                self._leaving[source] = loop.call_later(self._timeout, self._let_go, source)
        self._open = list(sources)

    async def close(self) -> None:
        """Close all of them."""
        for timer in self._leaving.values():
            timer.cancel()
        for source in (*self._leaving, *self._open):
            await source.close()
        self._open = []
        self._leaving = {}
        await asyncio.gather(*self._closing, return_exceptions=True)

    def _let_go(self, source: Source) -> None:
        del self._leaving[source]
        task = asyncio.get_running_loop().create_task(source.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _source(self, config: Accepted) -> Source:
        count = partial(self._count, config.name)
        if not config.store:
            from gateway.sources.formats import format_of
            from gateway.sources.sealed import SealedSource

            return SealedSource(config, format_of(config), wall=self._wall, count=count)
        from gateway.sources.stored import StoredSource

        return StoredSource(
            config,
            store_of(
                config,
                Describing(config).session,
                timeout=self._timeout,
                wall=self._wall,
            ),
            id_of=_id_of(config),
            prolongs=config.kind is Kind.DATABASE,
            cache=self._cache,
            wall=self._wall,
            count=count,
        )


def store_of(
    config: Accepted, session_of: SessionOf, *, timeout: float, wall: Callable[[], float]
) -> LookupStore:
    """Return the store of a source, not yet opened. Only its own driver is imported.

    Args:
        session_of: Makes a session of what the store has.
        timeout: Seconds that it may take to answer.
        wall: Returns Unix seconds.
    """
    setting = f"the store of {config.name} in session.accept"
    if config.kind is not Kind.DATABASE:
        from gateway.formats import express, next_session
        from gateway.stores.foreign.redis_entries import RedisEntries

        return RedisEntries(
            config.store,
            express if config.kind is Kind.EXPRESS else next_session,
            session_of,
            name=config.name,
            prefix=config.prefix,
            ttl=config.max_age,
            setting=setting,
            touch=config.touches,
            timeout=timeout,
            wall=wall,
        )
    if config.tables is None:
        from gateway.stores.foreign.upstash import UpstashSessions

        return UpstashSessions(
            config.store,
            session_of,
            prefix=config.prefix,
            max_age=config.max_age,
            setting=setting,
            touch=config.touches,
            timeout=timeout,
            wall=wall,
        )
    if postgres_urls.is_postgres(config.store):
        from gateway.stores.foreign.adapter_postgres import AdapterPostgres

        return AdapterPostgres(
            config.store,
            config.tables,
            session_of,
            max_age=config.max_age,
            setting=setting,
            touch=config.touches,
            timeout=timeout,
            wall=wall,
        )
    from gateway.stores.foreign.adapter_sqlite import AdapterSqlite

    return AdapterSqlite(
        config.store.removeprefix("sqlite:///"),
        config.tables,
        session_of,
        max_age=config.max_age,
        touch=config.touches,
        timeout=timeout,
        wall=wall,
    )


def _id_of(config: Accepted) -> Callable[[str], str]:
    match config.kind:
        case Kind.EXPRESS:
            from gateway.formats import express

            return partial(express.session_id, secrets=config.secrets)
        case Kind.NEXT_SESSION:
            from gateway.formats import next_session

            return partial(next_session.session_id, secrets=config.secrets)
        case _:
            from gateway.formats import adapter

            return adapter.token
