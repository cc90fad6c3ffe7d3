"""What is measured: tables of loads, the proxies in each, and the goals of the project."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.bench import loads
from tests.bench.gateways import Gateway
from tests.bench.loads import Measure, cpu, requests

GATEWAYS = {
    "gateway-public": ("public route, 50 routes", Gateway(path="/public/page")),
    "gateway-login": ("session, 50 routes, SQLite", Gateway(path="/signed-in/page")),
    "gateway-auth": ("session and role, 50 routes, SQLite", Gateway()),
    "gateway-redis": ("the same, Redis", Gateway(redis=True)),
    "gateway-nocache": (
        "the same, Redis, `session.cache: false`",
        Gateway(redis=True, cache=False),
    ),
    "gateway-log": ("session and role, SQLite, request log on", Gateway(request_log=True)),
    "gateway-10000": ("session and role, SQLite, 10,000 routes", Gateway(routes=10_000)),
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Loads that share a unit and a set of proxies."""

    title: str
    unit: str
    proxies: tuple[str, ...]
    loads: Mapping[str, Load]
    goals: Mapping[str, str] = field(default_factory=dict)
    """By proxy, what the project wants of it."""


# 8 clients are enough to keep a proxy busy with bodies, and few enough that those which are half
# way at the end of a run do not count.
_BODIES = 8

TABLES = {
    "small": Table(
        title="Small requests",
        unit="CPU µs/request",
        proxies=tuple(PROXIES),
        loads={"page": Load(titles=("",), measure=cpu(requests()))},
        goals={"gateway-auth": "≤ 3.2 × nginx, ≤ 0.8 × Envoy"},
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
    for proxy in about.proxies
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
