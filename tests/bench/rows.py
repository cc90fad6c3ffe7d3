"""What is measured: tables of loads, the proxies in each, and the goals of the project."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.bench import loads
from tests.bench.apps import AppName
from tests.bench.gateways import Gateway
from tests.bench.loads import Measure, cpu, requests

_UPDATE_AGE = f"{loads.UPDATE_AGE}s"

_APPS: tuple[tuple[str, AppName, str], ...] = (
    ("nextauth", "nextauth", "NextAuth 4"),
    ("authjs", "authjs", "Auth.js 5"),
    ("iron", "iron-session", "iron-session 9"),
    ("express", "express-session", "express-session, Redis"),
)

GATEWAYS = {
    "gateway-public": ("public route, 50 routes", Gateway(path="/public/page")),
    "gateway-login": ("session, 50 routes, SQLite", Gateway(path="/signed-in/page")),
    "gateway-auth": ("session and role, 50 routes, SQLite", Gateway()),
    "gateway-redis": ("session and role, 50 routes, Redis", Gateway(store="redis")),
    "gateway-log": ("session and role, SQLite, request log on", Gateway(request_log=True)),
    "gateway-10000": ("session and role, SQLite, 10,000 routes", Gateway(routes=10_000)),
    "cached-memory": ("cached, memory", Gateway(store="memory")),
    "cached-sqlite": ("cached, SQLite", Gateway()),
    "cached-redis": ("cached, Redis", Gateway(store="redis")),
    "cached-postgresql": ("cached, PostgreSQL", Gateway(store="postgresql")),
    "jwt": ("`strategy: jwt`, no store", Gateway(store="cookie")),
    "asked-sqlite": ("`session.cache: false`, SQLite", Gateway(cache=False)),
    "asked-redis": ("`session.cache: false`, Redis", Gateway(store="redis", cache=False)),
    "asked-postgresql": (
        "`session.cache: false`, PostgreSQL",
        Gateway(store="postgresql", cache=False),
    ),
    "own-session": ("own session, cached", Gateway()),
    "own-first": ("the same, with another cookie each time", Gateway(first_seen=True)),
    **{
        f"{short}-{when}": (
            f"{title}, {words}",
            Gateway(
                accept=name,
                store="redis" if name == "express-session" else "sqlite",
                first_seen=when == "first",
            ),
        )
        for short, name, title in _APPS
        for when, words in (("cached", "cached"), ("first", "first seen"))
    },
    "format-nextauth": (
        "own session, `format: nextauth`, cached",
        Gateway(store="cookie", format="nextauth"),
    ),
    "format-authjs": (
        "own session, `format: authjs`, cached",
        Gateway(store="cookie", format="authjs"),
    ),
    "touched-sqlite": ("SQLite", Gateway(update_age=_UPDATE_AGE)),
    "touched-redis": ("Redis", Gateway(store="redis", update_age=_UPDATE_AGE)),
    "touched-postgresql": ("PostgreSQL", Gateway(store="postgresql", update_age=_UPDATE_AGE)),
}

PROXIES = {
    "nginx": "nginx reverse proxy, no auth",
    "haproxy": "HAProxy, no auth",
    "envoy": "Envoy, no auth",
    "caddy": "Caddy reverse_proxy, no auth",
    **{name: f"**gateway**: {title}" for name, (title, _) in GATEWAYS.items()},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """One thing that is done to proxies; what comes of it is one figure or several."""

    titles: tuple[str, ...]
    """Of the figures; empty where the table's own says it all."""
    measure: Measure
    websocket: bool = False
    """Whether the upstream is the one that echoes messages."""
    proxies: tuple[str, ...] | None = None
    """Unset: all of the table's."""
    goals: Mapping[str, str] = field(default_factory=dict)
    """By proxy, what the project wants of it under this load alone."""
    users: int = 1
    """How many have signed in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Loads that share a unit and a set of proxies."""

    title: str
    unit: str
    proxies: tuple[str, ...]
    loads: Mapping[str, Load]
    goals: Mapping[str, str] = field(default_factory=dict)
    """By proxy, what the project wants of it."""
    peers: tuple[str, ...] = ("nginx", "envoy")
    """What there are ratios to."""
    more: tuple[str, ...] = ()
    """Titles of what a load measures besides, in columns of their own."""
    counted: bool = False
    """Whether commands to the store are."""
    once: bool = False
    """Whether one round will do: what is counted does not depend on what disturbs."""


# 8 clients are enough to keep a proxy busy with bodies, and few enough that those which are half
# way at the end of a run do not count.
_BODIES = 8

_CACHED = ("cached-memory", "cached-sqlite", "cached-redis", "cached-postgresql")
_ASKED = ("asked-sqlite", "asked-redis", "asked-postgresql")
# As many as connections at most, each request another one's: as with one user to a connection, no
# two that are under way ask for the same session.
_USERS = 256

TABLES = {
    "small": Table(
        title="Small requests",
        unit="CPU µs/request",
        proxies=(
            *("nginx", "haproxy", "envoy", "caddy", "gateway-public", "gateway-login"),
            *("gateway-auth", "gateway-redis", "gateway-log", "gateway-10000"),
        ),
        loads={"page": Load(titles=("",), measure=cpu(requests()))},
        goals={"gateway-auth": "≤ 3.2 × nginx, ≤ 0.8 × Envoy"},
    ),
    "sessions": Table(
        title="Where the session comes from",
        unit="CPU µs/request",
        proxies=("nginx", *_CACHED, "jwt", *_ASKED),
        loads={
            "32": Load(
                titles=("32 connections",),
                measure=loads.authenticated(32),
                goals={
                    **dict.fromkeys(_CACHED, "as with memory"),
                    "asked-redis": "≤ cached + 1.0 × nginx",
                },
                users=_USERS,
            ),
            **{
                str(connections): Load(
                    titles=(f"{connections} connection{'s' if connections > 1 else ''}",),
                    measure=loads.authenticated(connections),
                    proxies=("nginx", "cached-redis", "asked-redis"),
                    users=_USERS,
                )
                for connections in (1, 256)
            },
        },
        peers=("nginx",),
        more=("store's CPU µs/request", "store commands/request"),
        counted=True,
    ),
    "accepted": Table(
        title="Sessions of other frameworks",
        unit="CPU µs/request",
        proxies=(
            *("nginx", "own-session", "own-first"),
            *(f"{short}-{when}" for short, _, _ in _APPS for when in ("cached", "first")),
            *("format-nextauth", "format-authjs"),
        ),
        loads={
            "page": Load(titles=("",), measure=cpu(requests(everybody=True)), users=_USERS),
        },
        goals={
            **{f"{short}-cached": "≤ 1.1 × own session" for short, _, _ in _APPS},
            **{f"{short}-first": "≤ cached + 60" for short, _, _ in _APPS},
        },
        peers=("nginx", "own-session"),
    ),
    "touches": Table(
        title=f"Touches of one busy session, `update_age: {_UPDATE_AGE}`",
        unit="touches/minute",
        proxies=("touched-sqlite", "touched-redis", "touched-postgresql"),
        loads={
            "busy": Load(titles=("",), measure=loads.touches),
        },
        goals=dict.fromkeys(
            ("touched-sqlite", "touched-redis", "touched-postgresql"),
            f"≤ {60 // loads.UPDATE_AGE}",
        ),
        peers=(),
        more=("requests/touch",),
        counted=True,
        once=True,
    ),
    "bodies": Table(
        title="Bodies",
        unit="CPU µs/request",
        proxies=("nginx", "envoy", "gateway-auth"),
        loads={
            "100k": Load(
                titles=("100 KiB down",), measure=cpu(requests("/100k"), connections=_BODIES)
            ),
            "10m": Load(
                titles=("10 MiB down",), measure=cpu(requests("/10m"), connections=_BODIES)
            ),
            "upload": Load(
                titles=("1 MiB up",),
                measure=cpu(requests("/upload", upload=1 << 20), connections=_BODIES),
            ),
        },
        goals={"gateway-auth": "≤ 2.5 × nginx"},
    ),
    "websocket": Table(
        title="WebSocket: a message of 50 bytes, and its echo",
        unit="CPU µs/echo",
        proxies=("nginx", "envoy", "gateway-auth"),
        loads={"echo": Load(titles=("",), measure=cpu(loads.messages), websocket=True)},
        goals={"gateway-auth": "≤ 1.5 × nginx"},
    ),
    "connections": Table(
        title="A new connection for each request",
        unit="CPU µs/request",
        proxies=("nginx", "haproxy", "envoy", "gateway-auth"),
        loads={"new": Load(titles=("",), measure=cpu(requests(fields=("Connection: close",))))},
    ),
    "idle": Table(
        title="Idle connections",
        unit="MiB/1,000 connections",
        proxies=("nginx", "envoy", "gateway-auth"),
        loads={
            "1000": Load(titles=("1,000",), measure=loads.idle(1_000)),
            "10000": Load(titles=("10,000",), measure=loads.idle(10_000)),
        },
        goals={"gateway-auth": "≤ 11.7 (12 KiB each)"},
    ),
    "latency": Table(
        title="Latency at 2,000 requests/s",
        unit="µs",
        proxies=("nginx", "envoy", "gateway-auth"),
        loads={"rate": Load(titles=("median", "99th percentile"), measure=loads.latency)},
    ),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One load on one proxy: it is started, and measured once a round."""

    table: str
    load: str
    proxy: str

    def __str__(self) -> str:
        return f"{self.table}/{self.load}/{self.proxy}"


ROWS = [
    Row(table, load, proxy)
    for table, about in TABLES.items()
    for load in about.loads
    for proxy in about.loads[load].proxies or about.proxies
]


def select(words: str) -> list[Row]:
    """Return the rows that ``small``, ``bodies/nginx``, ``10m/envoy`` and the like name.

    Raises:
        ValueError: A word names none.
    """
    wanted = [frozenset(word.split("/")) for word in words.split(",")]
    for parts in wanted:
        if not any(parts <= {row.table, row.load, row.proxy} for row in ROWS):
            raise ValueError("/".join(sorted(parts)))
    return [r for r in ROWS if any(parts <= {r.table, r.load, r.proxy} for parts in wanted)]
