"""Figures become a table, and the table goes where people read it."""

from __future__ import annotations

import math
import platform
import re
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import gateway
from tests.bench.measure import Unusable, program

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"

_PEERS = {"nginx": "nginx", "envoy": "Envoy", "own-session": "own session"}
_VERSIONS = {
    "nginx": (["-v"], "nginx"),
    "haproxy": (["-v"], "HAProxy"),
    "caddy": (["version"], "Caddy"),
    "envoy": (["--version"], "Envoy"),
    "redis-server": (["--version"], "Redis"),
    "postgres": (["--version"], "PostgreSQL"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a table, and what was measured for it."""

    load: str
    """What was done; ratios are to other proxies with the same one. Empty where it goes unsaid."""
    proxy: str
    title: str
    figures: Sequence[float]
    goal: str = ""
    more: Sequence[Sequence[float]] = ()
    """What else was measured, for columns without ratios; NaN: it has none of that."""
    gap: str = ""
    """Why there are no figures."""


def table(
    unit: str,
    lines: Sequence[Line],
    *,
    peers: Sequence[str] = ("nginx", "envoy"),
    more: Sequence[str] = (),
) -> str:
    """Return a Markdown table; a line that could not be measured says why.

    Args:
        peers: What there are ratios to.
        more: Titles of further columns.
    """
    goals = any(line.goal for line in lines)
    numbers = [unit, "min–max", *(f"× {_PEERS[peer]}" for peer in peers), *more]
    rows = [["Proxy", *numbers, *(["goal"] if goals else [])]]
    rows.append(["---", *("---:" for _ in numbers), *(["---"] if goals else [])])
    middle = {(line.load, line.proxy): median(line.figures) for line in lines if line.figures}
    for line in lines:
        row = [f"{line.load}: {line.title}" if line.load else line.title]
        if line.figures:
            own = middle[line.load, line.proxy]
            row += [f"{own:.1f}", f"{min(line.figures):.1f}–{max(line.figures):.1f}"]
            for peer in peers:
                other = middle.get((line.load, peer))
                row.append(f"{own / other:.2f}" if other else "–")
            row += [_figure(median(figures)) for figures in line.more]
        else:
            row += [f"not measured: {line.gap or 'not asked for'}", *("" for _ in numbers[1:])]
        rows.append(row + ([line.goal] if goals else []))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _figure(value: float) -> str:
    if math.isnan(value):
        return "–"
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def circumstances(rounds: int, seconds: float, connections: int) -> str:
    """Return when and with what it was measured."""
    versions = [f"session-gateway {gateway.__version__}", f"Python {platform.python_version()}"]
    versions += [found for name in _VERSIONS if (found := _version(name))]
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {_processor()}, {platform.system()} {platform.release()}; "
        f"medians of {rounds} runs of {seconds:g} s, {connections} connections. "
        f"{', '.join(versions)}."
    )


def write(file: Path, text: str) -> None:
    """Replace what stands between the markers of a page."""
    page = file.read_text()
    before, found, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (found and end):
        raise SystemExit(f"{file} has no {BEGIN} … {END}")
    file.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")


def _version(name: str) -> str:
    arguments, title = _VERSIONS[name]
    try:
        call = [program(name, ""), *arguments]
        done = subprocess.run(call, check=False, capture_output=True, text=True, timeout=10)
    except (Unusable, OSError, subprocess.TimeoutExpired):
        return ""
    found = re.search(r"\d+\.\d+(\.\d+)?", done.stdout + done.stderr)
    return f"{title} {found[0]}" if found else ""


def _processor() -> str:
    names = _fields(Path("/proc/cpuinfo"), "model name")
    return f"{len(names)} × {names[0]}" if names else platform.machine()


def _fields(file: Path, key: str) -> list[str]:
    try:
        lines: Iterable[str] = file.read_text().splitlines()
    except OSError:
        return []
    pairs = (line.partition(":") for line in lines)
    return [value.strip() for name, _, value in pairs if name.strip() == key]
