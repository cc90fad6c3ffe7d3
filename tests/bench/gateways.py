"""The gateway as it is measured: each configuration that has a row of its own."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.bench import counting_sqlite
from tests.bench.apps import App, AppName, app
from tests.bench.measure import Proxy, program
from tests.bench.peers import BROWSER
from tests.bench.stores import InProcess, Sqlite, Store
from tests.servers import free_port

SECRET = "for measurements only: 32 characters"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """What distinguishes one row from the others."""

    path: str = "/app/page"
    routes: int = 50
    store: Literal["memory", "sqlite", "redis", "postgresql", "cookie"] = "sqlite"
    """``cookie``: ``strategy: jwt`` without a store."""
    cache: bool = True
    update_age: str = "5m"
    request_log: bool = False
    format: Literal["gateway", "nextauth", "authjs"] = "gateway"
    """Of its own sessions, in cookies."""
    accept: AppName | None = None
    """Whose sessions it is asked with instead of its own."""
    first_seen: bool = False
    """Whether it has never seen the ``Cookie`` that it is asked with."""


def gateway(
    folder: Path,
    upstream_port: int,
    counted: bool,
    *,
    servers: Mapping[str, Store],
    shape: Gateway,
) -> Proxy:
    """Write a configuration, and say how to start the gateway with it.

    Args:
        counted: Whether it is to count SQLite's statements.
    """
    port = free_port()
    store = _store(folder, servers, shape)
    file = folder / "config.yaml"
    accepted = app(shape.accept, store.url) if shape.accept else None
    file.write_text(_config(port, upstream_port, store.url, shape, accepted))
    command = [program("gateway", "make run")]
    if counted and isinstance(store, Sqlite):
        command = [sys.executable, counting_sqlite.__file__, str(store.counts)]
    public = shape.path.startswith("/public")
    return Proxy(
        command=[*command, "run", "-c", str(file)],
        folder=folder,
        url=f"http://127.0.0.1:{port}{shape.path}",
        headers=BROWSER,
        echo_url=f"http://127.0.0.1:{port}{shape.path}/echo",
        echo=" " if public else "ada member,reader",
        sign_in_url="" if accepted else f"http://127.0.0.1:{port}/sign-in",
        visitors=iter(accepted) if accepted else None,
        first_seen=shape.first_seen,
        store=store,
    )


def _store(folder: Path, servers: Mapping[str, Store], shape: Gateway) -> Store:
    match shape.store:
        case "memory":
            return InProcess("memory://")
        case "cookie":
            return InProcess("")
        case "sqlite":
            return Sqlite(folder)
        case _:
            return servers[shape.store]


def _config(
    port: int, upstream_port: int, store_url: str, shape: Gateway, accepted: App | None
) -> str:
    kept = f"store: {store_url}" if store_url else "strategy: jwt"
    others = "\n".join(
        f"  - {{path: /section{number}/**, access: login, role: member}}"
        for number in range(shape.routes - 4)
    )
    return f"""
version: 1
server:
  listen: 127.0.0.1:{port}
  request_log: {str(shape.request_log).lower()}
session:
  {kept}
  secret: "{SECRET}"
  cache: {str(shape.cache).lower()}
  update_age: {shape.update_age}
  format: {shape.format}
  accept: [{accepted.accept if accepted else ""}]
upstreams:
  app: http://127.0.0.1:{upstream_port}
defaults: {{access: deny, upstream: app}}
routes:
  - {{path: /public/**, access: public}}
  - {{path: /sign-in, access: public, session_control: true}}
  - {{path: /signed-in/**, access: login}}
  - {{path: /app/**, access: login, role: member}}
{others}
"""
