"""``make bench``: what the gateway costs beside other proxies, all measured in one run.

Load generator, proxy and upstream share the machine, so that requests per second say little; CPU
time per request survives that. Rounds of short runs in changing order spread what disturbs.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from tests.bench import peers, stores
from tests.bench.gateways import gateway
from tests.bench.loads import Effort
from tests.bench.measure import Proxy, Running, Unusable
from tests.bench.report import Line, circumstances, table, write
from tests.bench.rows import GATEWAYS, PROXIES, ROWS, TABLES, Row, select
from tests.bench.stores import Store

PAGE, SUMMARY = Path("docs/performance.md"), Path("README.md")

Make = Callable[[Path, int, bool], Proxy]
"""In which folder, in front of which port, and whether commands to the store are counted."""
Figures = Mapping[Row, Sequence[tuple[float, ...]]]


def main() -> int:
    """Measure, print the tables, and on request write them into the documentation."""
    options = _options()
    rows: list[Row] = options.only
    # 10,000 idle clients need as many files, on either side.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    effort = Effort(
        connections=options.connections, seconds=options.seconds, warm_up=options.warm_up
    )
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gateway-bench-")))
        scratch.chmod(0o755)  # nginx's worker is another user
        figures, gaps = _measure(rows, options.rounds, effort, scratch, stack)
    texts = [
        _table(name, rows, figures, gaps) for name in TABLES if name in {r.table for r in rows}
    ]
    about = circumstances(options.rounds, options.seconds, options.connections)
    everything = "\n\n".join([about, *texts])
    print(f"\n{everything}")
    if options.write:
        write(PAGE, everything)
        write(SUMMARY, "\n\n".join([about, texts[0]]))
    return 0


def _measure(
    rows: list[Row], rounds: int, effort: Effort, scratch: Path, stack: ExitStack
) -> tuple[Figures, Mapping[Row, str]]:
    """Return what came of each row, and why of some nothing."""
    figures: dict[Row, list[tuple[float, ...]]] = {row: [] for row in rows}
    gaps: dict[Row, str] = {}
    plain = stack.enter_context(Running(peers.upstream(_folder(scratch / "upstream"))))
    talking = stack.enter_context(Running(peers.echo(_folder(scratch / "echo"))))
    makers = _makers(_servers(rows, stack, gaps))
    for number in range(rounds):
        turn = number * len(rows) // rounds
        for row in rows[turn:] + rows[:turn]:
            table = TABLES[row.table]
            if row in gaps or (table.once and number):
                continue
            load = table.loads[row.load]
            upstream = (talking if load.websocket else plain).proxy
            folder = _folder(scratch / f"{row}-{number}".replace("/", "-"))
            try:
                port = urlsplit(upstream.url).port or 0
                proxy = makers[row.proxy](folder, port, table.counted)
                with Running(proxy, users=load.users) as running:
                    figure = load.measure(running, effort)
            except Unusable as error:
                gaps[row] = str(error).strip().splitlines()[-1]
                figures[row] = []
                print(f"{row}: {error}", file=sys.stderr)
                continue
            figures[row].append(figure)
            values = ", ".join(f"{value:.1f}" for value in figure)
            print(f"round {number + 1}: {row} {values}", file=sys.stderr)
    return figures, gaps


def _table(name: str, rows: Sequence[Row], figures: Figures, gaps: Mapping[Row, str]) -> str:
    about = TABLES[name]
    lines = []
    for load_name, load in about.loads.items():
        chosen = [row for row in rows if (row.table, row.load) == (name, load_name)]
        for number, title in enumerate(load.titles):
            lines += [
                Line(
                    load=title,
                    proxy=row.proxy,
                    title=PROXIES[row.proxy],
                    figures=[figure[number] for figure in figures[row]],
                    goal={**about.goals, **load.goals}.get(row.proxy, ""),
                    more=[
                        [figure[len(load.titles) + column] for figure in figures[row]]
                        for column in range(len(about.more))
                    ],
                    gap=gaps.get(row, ""),
                )
                for row in chosen
            ]
    return f"**{about.title}**\n\n{table(about.unit, lines, peers=about.peers, more=about.more)}"


def _makers(servers: Mapping[str, Store]) -> dict[str, Make]:
    def bare(make: Callable[[Path, int], Proxy]) -> Make:
        return lambda folder, upstream_port, _: make(folder, upstream_port)

    makers: dict[str, Make] = {
        "nginx": bare(peers.nginx),
        "haproxy": bare(peers.haproxy),
        "envoy": bare(peers.envoy),
        "caddy": bare(peers.caddy),
    }
    for name, (_, shape) in GATEWAYS.items():
        makers[name] = partial(gateway, servers=servers, shape=shape)
    return makers


def _servers(rows: Sequence[Row], stack: ExitStack, gaps: dict[Row, str]) -> Mapping[str, Store]:
    """Start the servers that rows need; where one cannot be had, those rows are gaps."""
    started: dict[str, Store] = {}
    for name in stores.SERVERS:
        needing = [
            row for row in rows if row.proxy in GATEWAYS and GATEWAYS[row.proxy][1].store == name
        ]
        if needing:
            try:
                started[name] = stores.start(name, stack)
            except Unusable as error:
                gaps.update(dict.fromkeys(needing, str(error).splitlines()[-1]))
    return started


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)

    def rows(words: str) -> list[Row]:
        try:
            return select(words)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"no row is {error}; there are {names}") from error

    names = ", ".join(map(str, ROWS))
    parser.add_argument(
        "--only",
        type=rows,
        default=ROWS,
        metavar="WORD,…",
        help=f"any part of a row's name, or several: small, bodies/nginx. There are {names}",
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--warm-up", type=float, default=0.5)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument(
        "--write",
        action="store_true",
        help=f"put the tables into {PAGE}, and the first one into {SUMMARY}, between their markers",
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
