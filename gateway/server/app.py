"""The only place that builds and joins the parts of a running gateway."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import ssl
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import structlog
from aiohttp import web

from gateway import __version__
from gateway.config.config import Config, Listener, UsersProvider
from gateway.config.load import load_file
from gateway.config.users_file import load_users
from gateway.errors import ConfigError, GatewayError, StoreError
from gateway.login.passwords import Passwords
from gateway.login.users import UsersFile
from gateway.server import pages
from gateway.server.admin import admin_app
from gateway.server.auth_endpoints import AuthEndpoints
from gateway.server.clock import Clock, RequestIds
from gateway.server.connection import Server
from gateway.server.gateway import Gateway
from gateway.server.pipeline import Pipeline
from gateway.server.signals import Signals
from gateway.stores.cached import CachedSessions
from gateway.stores.opening import open_store
from gateway.stores.protocol import SessionStore
from gateway.telemetry.logs import configure
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.records import RequestLog
from gateway.upstream.deadlines import Deadlines

log = structlog.get_logger()

_BACKLOG = 1024


class App:
    """A running gateway: what lasts as long as the process, and the current configuration.

    Use as an asynchronous context manager: leaving it closes everything that was opened.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.draining = False
        self._stack = AsyncExitStack()
        self._clock = Clock()
        self._metrics = Metrics()
        # Without a configured secret, forms are good for the life of this process.
        self._form_secret = secrets.token_urlsafe(32)
        self._servers: list[asyncio.Server] = []
        self._near: list[Server] = []
        self.addresses: list[str] = []
        """Where the gateway listens, as URLs; a port of 0 in the file is the real one here."""

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
        self._sessions = self._cache(config)
        stack.push_async_callback(self._sessions.close)
        self._passwords = Passwords()
        stack.callback(self._passwords.close)
        request_log = RequestLog(self._writer) if config.server.request_log else None
        if request_log is not None:
            stack.callback(request_log.close)
        pages.prepare()
        self._pipeline = Pipeline(
            self._build(config),
            metrics=self._metrics,
            request_log=request_log,
            wall=self._clock.wall,
            date=self._clock.date,
            new_id=RequestIds().new,
        )
        stack.callback(self._close_gateway)
        for listener in config.server.listen:
            await self._listen(listener, config)
        stack.push_async_callback(self._stop_listening, 0.0)
        if config.server.admin is not None:
            await self._listen_admin(config.server.admin.listen, stack)

    def _close_gateway(self) -> None:
        self._pipeline.gateway.close()

    async def _open_store(self, config: Config, stack: AsyncExitStack) -> SessionStore:
        store = open_store(config.session.store, timeout=config.session.store_timeout)
        stack.push_async_callback(store.close)
        await store.open()
        return store

    def _cache(self, config: Config) -> CachedSessions:
        return CachedSessions(
            self._store,
            enabled=config.session.cache,
            lifetime=config.session.lifetime,
            wall=self._clock.wall,
        )

    def _build(self, config: Config) -> Gateway:
        endpoints = AuthEndpoints(
            login=config.login,
            base_path=config.server.base_path,
            public_url=config.server.public_url,
            cookie=config.session.cookie,
            secrets=config.session.secrets or (self._form_secret,),
            lifetime=config.session.lifetime,
            store=self._store,
            sessions=self._sessions,
            roles=config.roles,
            users={provider.id: self._users(provider) for provider in config.login.providers},
            wall=self._clock.wall,
            random=os.urandom,
        )
        gateway = Gateway(
            config,
            sessions=self._sessions,
            endpoints=endpoints,
            metrics=self._metrics,
            deadlines=self._deadlines,
            date=self._clock.date,
            log_dropped=_log_dropped,
        )
        self._metrics.upstream_connections = {
            name: pool.counts for name, pool in gateway.pools.items()
        }
        return gateway

    def _users(self, provider: UsersProvider) -> UsersFile:
        users = UsersFile(
            provider=provider.id,
            file=provider.file,
            load=load_users,
            passwords=self._passwords,
            clock=time.monotonic,
        )
        users.open()
        return users

    # --- listening ---------------------------------------------------------------------------

    async def _listen(self, listener: Listener, config: Config) -> None:
        loop = asyncio.get_running_loop()
        tls = config.server.tls
        context = None
        if tls is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(tls.cert, tls.key)
        near = Server(
            self._pipeline.serve,
            self._client_deadlines,
            keepalive=config.server.keepalive_timeout,
            head_limit=config.server.header_timeout,
            secure=context is not None,
        )
        self._near.append(near)
        if listener.path is not None:
            server = await _listen_unix(near, Path(listener.path), context)
            self.addresses.append(str(listener))
        else:
            server = await loop.create_server(
                near, listener.host, listener.port, ssl=context, backlog=_BACKLOG
            )
            port = server.sockets[0].getsockname()[1]
            scheme = "http" if context is None else "https"
            actual = Listener(host=listener.host, port=port)
            self.addresses.append(f"{scheme}://{actual}")
        self._servers.append(server)

    async def _listen_admin(self, listener: Listener, stack: AsyncExitStack) -> None:
        runner = web.AppRunner(
            admin_app(self, listen_host=listener.host), access_log=None, handle_signals=False
        )
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        if listener.path is not None:
            await web.UnixSite(runner, listener.path).start()
        else:
            await web.TCPSite(runner, listener.host, listener.port).start()

    async def drain(self) -> None:
        """Accept no more; let requests under way finish, for at most ``drain_timeout``."""
        self.draining = True
        await self._stop_listening(self.config.server.drain_timeout)

    async def _stop_listening(self, limit: float) -> None:
        for server in self._servers:
            server.close()
        tasks = [t for near in self._near for c in near.open if (t := c.finish()) is not None]
        if tasks and limit:
            await asyncio.wait(tasks, timeout=limit)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._servers.clear()

    # --- reload ------------------------------------------------------------------------------

    async def reload(self) -> None:
        """Take the file's new content where it is valid; otherwise go on as before, and say why.

        Addresses, TLS files and the session store are those of the start.
        """
        try:
            # In a thread: a long file takes longer than a request may wait.
            config = await asyncio.to_thread(load_file, Path(self.config.file), os.environ)
            before, after = _lasting(self.config), _lasting(config)
            if changed := [name for name in after if after[name] != before[name]]:
                raise GatewayError(f"only a restart can change {', '.join(changed)}")
            gateway = self._build(config)
        except ConfigError as error:
            self._metrics.reloads_failed += 1
            log.error("reload refused", problems=[str(problem) for problem in error.problems])
            return
        except (GatewayError, OSError) as error:
            self._metrics.reloads_failed += 1
            log.error("reload refused", problems=[str(error)])
            return
        old, self._pipeline.gateway = self._pipeline.gateway, gateway
        old.close()
        self.config = config
        self._metrics.reloads_ok += 1
        log.info("reloaded", routes=len(config.table.routes))

    # --- for the admin listener --------------------------------------------------------------

    async def store_problem(self) -> str | None:
        """Say why the session store cannot be used now."""
        try:
            await self._store.ping()
        except StoreError as error:
            return str(error)
        return None

    async def upstream_problems(self) -> Sequence[str]:
        """Say which upstreams cannot be reached now."""
        pools = self._pipeline.gateway.pools.values()
        return [p for p in await asyncio.gather(*(pool.problem() for pool in pools)) if p]

    def render_metrics(self) -> bytes:
        """Return the metrics in Prometheus' text format."""
        return self._metrics.render()


async def serve(config: Config, *, ready: Callable[[list[str]], None] | None = None) -> None:
    """Run a gateway until SIGTERM or SIGINT, then drain it. SIGHUP reloads the file.

    Args:
        ready: Told where the gateway listens, once it answers.
    """
    async with App(config) as app, Signals() as signals:
        log.info("listening", addresses=app.addresses, version=__version__)
        if ready is not None:
            ready(app.addresses)
        await signals.wait(on_reload=app.reload)
        log.info("draining")
        await app.drain()
    log.info("stopped")


def _lasting(config: Config) -> dict[str, object]:
    """Return what a reload cannot change."""
    server, session = config.server, config.session
    return {
        "server.listen": server.listen,
        "server.tls": server.tls,
        "server.admin": server.admin,
        "server.keepalive_timeout": server.keepalive_timeout,
        "server.header_timeout": server.header_timeout,
        "server.request_log": server.request_log,
        "session.store": session.store,
        "session.store_timeout": session.store_timeout,
        "session.cache": session.cache,
        "session lifetimes": session.lifetime,
    }


async def _listen_unix(near: Server, path: Path, context: ssl.SSLContext | None) -> asyncio.Server:
    """Listen on a Unix socket; one that a killed gateway left behind is taken over.

    Raises:
        OSError: Somebody listens there, or no socket can be made there; it names the path.
    """
    loop = asyncio.get_running_loop()
    if _answers(path):
        raise OSError(f"unix:{path}: another process listens there")
    try:
        return await loop.create_unix_server(near, path, ssl=context, backlog=_BACKLOG)
    except OSError as exc:
        raise OSError(f"unix:{path}: {exc.strerror or exc}") from exc


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def _log_dropped(user_id: str, names: list[str]) -> None:
    log.warning("names dropped", user=user_id, names=[repr(name)[:80] for name in names])
