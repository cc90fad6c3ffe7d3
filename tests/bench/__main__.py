"""``make bench``: CPU microseconds per request, the gateway beside other proxies, in one run.

Load generator, proxy and upstream share the machine, so that requests per second say little; CPU
time per request survives that. Rounds of short runs in changing order spread what disturbs.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from tests.bench import peers
from tests.bench.gateways import Gateway, gateway
from tests.bench.measure import Proxy, Running, Unusable, cost, program
from tests.bench.report import circumstances, table, write
from tests.servers import RedisServer

GATEWAYS = {
    "gateway-public": ("public route, 50 routes", Gateway(path="/public/page")),
    "gateway-auth": ("session and role, 50 routes, SQLite", Gateway()),
    "gateway-redis": ("the same, Redis", Gateway(redis=True)),
    "gateway-nocache": (
        "the same, Redis, `session.cache: false`",
        Gateway(redis=True, cache=False),
    ),
    "gateway-log": ("session and role, SQLite, request log on", Gateway(request_log=True)),
    "gateway-10000": ("session and role, SQLite, 10,000 routes", Gateway(routes=10_000)),
}

TITLES = {
    "nginx": "nginx reverse proxy, no auth",
    "haproxy": "HAProxy, no auth",
    "envoy": "Envoy, no auth",
    "caddy": "Caddy reverse_proxy, no auth",
    **{name: f"**gateway**: {title}" for name, (title, _) in GATEWAYS.items()},
}

PAGES = (Path("docs/performance.md"), Path("README.md"))

Make = Callable[[Path], Proxy]


def main() -> int:
    """Measure, print the table, and on request write it into the documentation."""
    options = _options()
    chosen = options.only or list(TITLES)
    figures: dict[str, list[float]] = {name: [] for name in chosen}
    gaps: dict[str, str] = {}
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gateway-bench-")))
        scratch.chmod(0o755)  # nginx's worker is another user
        upstream = peers.upstream(_folder(scratch / "upstream"))
        stack.enter_context(Running(upstream))
        port = urlsplit(upstream.url).port or 0
        makers = _makers(chosen, port, _redis(chosen, stack, gaps))
        for number in range(options.rounds):
            turn = number * len(chosen) // options.rounds
            for name in chosen[turn:] + chosen[:turn]:
                if name in gaps:
                    continue
                try:
                    proxy = makers[name](_folder(scratch / f"{name}-{number}"))
                    figure = cost(
                        proxy,
                        connections=options.connections,
                        seconds=options.seconds,
                        warm_up=options.warm_up,
                    )
                except Unusable as error:
                    gaps[name] = str(error).strip().splitlines()[-1]
                    figures[name] = []
                    print(f"{name}: {error}", file=sys.stderr)
                    continue
                figures[name].append(figure)
                print(f"round {number + 1}: {name} {figure:.1f} µs", file=sys.stderr)
    text = table({name: TITLES[name] for name in TITLES if name in chosen}, figures, gaps)
    about = circumstances(options.rounds, options.seconds, options.connections)
    print(f"\n{about}\n\n{text}")
    if options.write is not None:
        for page in options.write or PAGES:
            write(page, f"{about}\n\n{text}")
    return 0


def _makers(chosen: list[str], port: int, redis_url: str) -> dict[str, Make]:
    makers: dict[str, Make] = {
        "nginx": partial(peers.nginx, upstream_port=port),
        "haproxy": partial(peers.haproxy, upstream_port=port),
        "envoy": partial(peers.envoy, upstream_port=port),
        "caddy": partial(peers.caddy, upstream_port=port),
    }
    for name, (_, shape) in GATEWAYS.items():
        makers[name] = partial(gateway, upstream_port=port, redis_url=redis_url, shape=shape)
    return {name: makers[name] for name in chosen}


def _redis(chosen: list[str], stack: ExitStack, gaps: dict[str, str]) -> str:
    """Start Redis if a row needs it; where it is not installed, those rows are gaps."""
    needing = [name for name in chosen if name in GATEWAYS and GATEWAYS[name][1].redis]
    if not needing:
        return ""
    try:
        program("redis-server", "apt-get install redis-server")
    except Unusable as error:
        gaps.update(dict.fromkeys(needing, f"redis-server {error}"))
        return ""
    return stack.enter_context(RedisServer("--appendonly", "no")).url


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)

    def names(text: str) -> list[str]:
        found = text.split(",")
        if unknown := set(found) - TITLES.keys():
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}; there are {', '.join(TITLES)}")
        return found

    parser.add_argument("--only", type=names, metavar="NAME,…", help=", ".join(TITLES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--warm-up", type=float, default=1)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument(
        "--write",
        nargs="*",
        type=Path,
        metavar="PAGE",
        help=f"put the table into pages, between their markers ({', '.join(map(str, PAGES))})",
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
