"""The only place that builds and joins the parts of a running gateway."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import structlog
from aiohttp import web

from gateway import __version__
from gateway.config.config import Config, UsersProvider
from gateway.config.load import load_file
from gateway.config.users_file import load_users
from gateway.errors import ConfigError, GatewayError, StoreError
from gateway.login.callbacks import Callbacks, Threads
from gateway.login.passwords import Passwords
from gateway.login.users import UsersFile
from gateway.rates.memory import MemoryRates
from gateway.rates.opening import open_rates
from gateway.rates.protocol import Rates
from gateway.rules.forwarded import is_trusted
from gateway.server import pages
from gateway.server.accepted_visitors import AcceptedVisitors
from gateway.server.admin import admin_app
from gateway.server.auth_endpoints import AuthEndpoints
from gateway.server.clock import Clock, RequestIds
from gateway.server.gateway import Gateway
from gateway.server.heap import keep_freed_memory
from gateway.server.listening import Sockets, open_sockets
from gateway.server.near import NearSide, urls
from gateway.server.ongoing import Ongoing
from gateway.server.pipeline import Pipeline
from gateway.server.signals import Signals
from gateway.server.strategies import kind_of
from gateway.sources.opening import Sources
from gateway.sources.protocol import Source
from gateway.stores.codec import CurrentCodec, RememberingCodec, codec_for
from gateway.stores.opening import open_store
from gateway.stores.protocol import Codec, SessionStore
from gateway.telemetry import totals
from gateway.telemetry.logs import configure
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.records import RequestLog
from gateway.upstream.deadlines import Deadlines

log = structlog.get_logger()

Gather = Callable[[bytes], Awaitable[Sequence[bytes]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What a process is given by whoever started it."""

    sockets: Sockets
    form_secret: str
    """Seals forms where the file names no secret; the same in every worker."""
    worker: int = 0
    gather: Gather | None = None
    """Given this process's numbers, returns those of all others; None: there are no others."""


def new_form_secret() -> str:
    """Return a secret that is good as long as the gateway runs."""
    return secrets.token_urlsafe(32)


class App:
    """A running gateway: what lasts as long as the process, and the current configuration.

    Use as an asynchronous context manager: leaving it closes everything that was opened.
    """

    def __init__(self, config: Config, share: Share, *, clock: Clock | None = None) -> None:
        self.config = config
        self._share = share
        self.draining = False
        self._stack = AsyncExitStack()
        self._clock = clock or Clock()
        self._metrics = Metrics()
        self._rates: Rates | None = None
        self._reloading = asyncio.Lock()

    async def __aenter__(self) -> App:
        """Open everything; when this returns, requests are answered.

        Raises:
            StoreError: The session store cannot be opened.
            OSError: An address cannot be listened on.
        """
        async with AsyncExitStack() as stack:
            await self._open(stack)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close everything, in the opposite order."""
        await self._stack.aclose()

    async def _open(self, stack: AsyncExitStack) -> None:
        config = self.config
        self._writer = configure(sys.stdout)
        self._deadlines = Deadlines()
        stack.callback(self._deadlines.close)
        # Idle connections may be many, and their limits are long: a slower sweep is enough.
        self._client_deadlines = Deadlines(interval=0.25)
        stack.callback(self._client_deadlines.close)
        self._store = await self._open_store(config, stack)
        self._kind = kind_of(config.session, self._store, self._clock.wall)
        self._sessions = self._kind.sessions
        stack.push_async_callback(self._sessions.close)
        self._ongoing = Ongoing(self._store, self._sessions, wall=self._clock.wall)
        stack.push_async_callback(self._ongoing.close)
        self._sources = Sources(
            cache=config.session.cache,
            timeout=config.session.store_timeout,
            wall=self._clock.wall,
            count=self._metrics.count_accepted,
            opened=self._ongoing.hear,
        )
        stack.push_async_callback(self._sources.close)
        stack.push_async_callback(self._close_rates)
        self._threads = Threads()
        self._passwords = Passwords()
        stack.callback(self._passwords.close)
        request_log = RequestLog(self._writer) if config.server.request_log else None
        if request_log is not None:
            stack.callback(request_log.close)
        pages.prepare(config.server.templates)
        self._pipeline = Pipeline(
            self._build(config, await self._sources.open(config.session.accept)),
            metrics=self._metrics,
            request_log=request_log,
            wall=self._clock.wall,
            date=self._clock.date,
            new_id=RequestIds().new,
        )
        self._ongoing.go_by(self._pipeline.gateway)
        stack.callback(self._close_gateway)
        self._near = NearSide(
            config.server,
            self._share.sockets,
            worker=self._share.worker,
            handler=self._pipeline,
            trusted=self._trusted,
            deadlines=self._client_deadlines,
            tell=self._tell,
        )
        self._metrics.turned_away = self._near.turned_away.counts
        await self._near.open()
        stack.push_async_callback(self._near.drain, 0.0)
        await self._open_admin(stack)

    def _close_gateway(self) -> None:
        self._pipeline.gateway.close()

    async def _open_store(self, config: Config, stack: AsyncExitStack) -> SessionStore:
        self._codec = CurrentCodec(_codec(config))
        session = config.session
        store = open_store(
            session.store, timeout=session.store_timeout, codec=self._codec, app=session.tables
        )
        stack.push_async_callback(store.close)
        await store.open()
        return store

    def _build(self, config: Config, sources: tuple[Source, ...]) -> Gateway:
        keeper, cookies = self._kind.keeper(config.session), self._kind.cookies(config.session)
        callbacks = Callbacks(config.callbacks, self._threads)
        endpoints = AuthEndpoints(
            login=config.login,
            base_path=config.server.base_path,
            public_url=config.server.public_url,
            cookies=cookies,
            secrets=config.session.secrets or (self._share.form_secret,),
            lifetime=config.session.lifetime,
            remember=config.session.remember,
            keeper=keeper,
            sessions=self._sessions,
            roles=config.roles,
            users={provider.id: self._users(provider) for provider in config.login.providers},
            callbacks=callbacks,
            accepted=AcceptedVisitors(sources, self._clock.wall) if sources else None,
            wall=self._clock.wall,
            random=os.urandom,
            null_for_nobody=config.session.format == "authjs",
        )
        gateway = Gateway(
            config,
            sessions=self._sessions,
            keeper=keeper,
            cookies=cookies,
            sources=sources,
            ongoing=self._ongoing,
            callbacks=callbacks,
            endpoints=endpoints,
            metrics=self._metrics,
            deadlines=self._deadlines,
            wall=self._clock.wall,
            date=self._clock.date,
            rates=self._rates_for(config),
            log_dropped=_log_dropped,
            log_target=self._tell,
        )
        self._metrics.upstream_connections = {
            name: pool.counts for name, pool in gateway.pools.items()
        }
        self._metrics.upstream_targets = {
            name: pool.targets for name, pool in gateway.pools.items()
        }
        self._metrics.upstream_waiting = {
            name: pool.waiting
            for name, pool in gateway.pools.items()
            if pool.upstream.max_connections is not None
        }
        gateway.start()
        return gateway

    def _tell(self, event: str, **fields: object) -> None:
        """Tell the operator what each worker finds out for itself, and which one it was."""
        if self._share.gather is not None:
            fields["worker"] = self._share.worker
        log.warning(event, **fields)

    def _rates_for(self, config: Config) -> Rates:
        """Return what counts requests: one for the life of the process, whatever is reloaded."""
        limited = any(route.forwarding.rate_limit for route in config.table.routes)
        if self._rates is None and not limited:
            return MemoryRates(time.monotonic)  # nobody will ask it
        if self._rates is None:
            self._rates = open_rates(
                self.config.session.store,
                timeout=self.config.session.store_timeout,
                clock=time.monotonic,
                failed=self._metrics.count_rate_limit_error,
            )
        return self._rates

    async def _close_rates(self) -> None:
        if self._rates is not None:
            await self._rates.close()

    def _users(self, provider: UsersProvider) -> UsersFile:
        users = UsersFile(
            provider=provider.id,
            file=provider.file,
            load=load_users,
            passwords=self._passwords,
            clock=time.monotonic,
            id_prefix=provider.id_prefix,
            reserved=provider.reserved,
        )
        users.open()
        return users

    # --- listening ---------------------------------------------------------------------------

    def _trusted(self, peer: str) -> bool:
        gateway = self._pipeline.gateway
        return is_trusted(peer, gateway.trusted, gateway.trust_unix)

    async def _open_admin(self, stack: AsyncExitStack) -> None:
        opened = self._share.sockets.admin
        if opened is None:
            return
        runner = web.AppRunner(
            admin_app(self, listen_host=opened.listener.host),
            access_log=None,
            handle_signals=False,
        )
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        for listening in opened.shares[self._share.worker]:
            await web.SockSite(runner, listening).start()

    async def drain(self) -> None:
        """Accept no more; let requests under way finish, for at most ``drain_timeout``."""
        self.draining = True
        await self._near.drain(self.config.server.drain_timeout)

    # --- reload ------------------------------------------------------------------------------

    async def reload(self) -> None:
        """Take the file's new content where it is valid; otherwise go on as before, and say why."""
        try:
            # In a thread: a long file takes longer than a request may wait.
            config = await asyncio.to_thread(load_successor, self.config)
            await self.take(config)
        except ConfigError as error:
            problems = [str(problem) for problem in error.problems]
        except (GatewayError, OSError) as error:
            problems = [str(error)]
        else:
            self._metrics.reloads_ok += 1
            log.info("reloaded", routes=len(config.table.routes))
            return
        self._metrics.reloads_failed += 1
        log.error("reload refused", problems=problems)

    async def take(self, config: Config) -> None:
        """Go by another configuration: the next requests get it, those under way keep theirs.

        Raises:
            GatewayError, OSError: It cannot be used; everything stays as it was.
        """
        async with self._reloading:
            await self._take(config)

    async def _take(self, config: Config) -> None:
        before = self._pipeline.gateway.sources
        sources = await self._sources.open(config.session.accept)
        try:
            gateway = self._build(config, sources)
        except BaseException:
            self._sources.keep(before)
            raise
        try:
            pages.prepare(config.server.templates)
            self._near.renew(config.server)
        except BaseException:
            gateway.close()
            self._sources.keep(before)
            raise
        self._codec.use(_codec(config))
        self._kind.use(config.session)
        old, self._pipeline.gateway = self._pipeline.gateway, gateway
        self._ongoing.go_by(gateway)
        old.close()
        self._sources.keep(sources)
        self.config = config

    # --- for the admin listener --------------------------------------------------------------

    async def store_problem(self) -> str | None:
        """Say why the session store cannot be used now."""
        try:
            await self._store.ping()
        except StoreError as error:
            return str(error)
        for source in self._pipeline.gateway.sources:
            try:
                await source.ping()
            except StoreError as error:
                return f"sessions of {source.name}: {error}"
        return None

    async def upstream_problems(self) -> tuple[Sequence[str], Sequence[str]]:
        """Say which upstreams cannot be used now, and which targets others stand in for."""
        pools = self._pipeline.gateway.pools.values()
        found = await asyncio.gather(*(pool.problems() for pool in pools))
        return (
            [problem for problems, usable in found for problem in problems if not usable],
            [problem for problems, usable in found for problem in problems if usable],
        )

    async def render_metrics(self) -> bytes:
        """Return the metrics of all workers in Prometheus' text format."""
        gather = self._share.gather
        if gather is None:
            return self._metrics.render()
        numbers = self.numbers()
        return totals.render([numbers, *await gather(numbers)])

    def numbers(self) -> bytes:
        """Return what this process has counted, for another one to add up."""
        return totals.snapshot(self._metrics.everything())

    def close_log(self) -> None:
        """Write the lines that wait; from now on there are no more."""
        self._writer.close()


async def serve(
    config: Config,
    *,
    ready: Callable[[list[str]], None] | None = None,
    clock: Clock | None = None,
) -> None:
    """Run a gateway until SIGTERM or SIGINT, then drain it. SIGHUP reloads the file.

    Args:
        ready: Told where the gateway listens, once it answers.
        clock: Says what time it is; None: this machine's.

    Raises:
        OSError: An address cannot be listened on.
        GatewayError: Something else that it needs cannot be had.
    """
    keep_freed_memory()
    sockets = open_sockets(config.server, 1, os.environ)
    try:
        share = Share(sockets=sockets, form_secret=new_form_secret())
        async with App(config, share, clock=clock) as app, Signals() as signals:
            addresses = urls(config.server, sockets)
            log.info("listening", addresses=addresses, version=__version__)
            if ready is not None:
                ready(addresses)
            await signals.wait(on_reload=app.reload)
            log.info("draining")
            sockets.narrow()
            await app.drain()
    finally:
        sockets.close()
    log.info("stopped")


def _codec(config: Config) -> Codec:
    codec = codec_for(config.session.secrets, encrypt=config.session.encrypt)
    return codec if config.session.cache else RememberingCodec(codec)


def load_successor(config: Config) -> Config:
    """Read the file of a running configuration again.

    Raises:
        ConfigError: It is not valid.
        GatewayError: It changes what only a restart can change.
    """
    successor = load_file(Path(config.file), os.environ)
    before, after = _lasting(config), _lasting(successor)
    if changed := [name for name in after if after[name] != before[name]]:
        raise GatewayError(f"only a restart can change {', '.join(changed)}")
    return successor


def _lasting(config: Config) -> dict[str, object]:
    """Return what a reload cannot change."""
    server, session = config.server, config.session
    return {
        "server.listen": server.listen,
        "server.workers": server.workers,
        "server.limits": (server.limits.connections, server.limits.connections_per_address),
        "whether there is server.tls": bool(server.tls),
        "server.admin": server.admin,
        "server.keepalive_timeout": server.keepalive_timeout,
        "server.header_timeout": server.header_timeout,
        "server.request_log": server.request_log,
        "session.strategy": session.strategy,
        "session.format": session.format,
        "session.schema, tables or columns": session.tables,
        "session.store": session.store,
        "session.store_timeout": session.store_timeout,
        "session.cache": session.cache,
        "session lifetimes": session.lifetime,
    }


def _log_dropped(user_id: str, names: list[str]) -> None:
    log.warning("names dropped", user=user_id, names=[repr(name)[:80] for name in names])
