"""Figures become a table, and the table goes where people read it."""

from __future__ import annotations

import platform
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import gateway
from tests.bench.measure import Unusable, program

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"

_VERSIONS = {
    "nginx": (["-v"], "nginx"),
    "haproxy": (["-v"], "HAProxy"),
    "caddy": (["version"], "Caddy"),
    "envoy": (["--version"], "Envoy"),
    "redis-server": (["--version"], "Redis"),
}


def table(
    titles: Mapping[str, str], figures: Mapping[str, Sequence[float]], gaps: Mapping[str, str]
) -> str:
    """Return a Markdown table; a row that could not be measured says why."""
    lines = [
        "| Proxy | CPU µs/request | min–max | × nginx | × Envoy |",
        "|---|---:|---:|---:|---:|",
    ]
    middle = {name: median(values) for name, values in figures.items() if values}
    for name, title in titles.items():
        if name not in middle:
            lines.append(f"| {title} | not measured: {gaps.get(name, 'not asked for')} | | | |")
            continue
        ratios = [
            f"{middle[name] / middle[unit]:.2f}" if unit in middle else "–"
            for unit in ("nginx", "envoy")
        ]
        spread = f"{min(figures[name]):.1f}–{max(figures[name]):.1f}"
        lines.append(f"| {title} | {middle[name]:.1f} | {spread} | {ratios[0]} | {ratios[1]} |")
    return "\n".join(lines)


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
    found = re.search(r"\d+\.\d+\.\d+", done.stdout + done.stderr)
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
