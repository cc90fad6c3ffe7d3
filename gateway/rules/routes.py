"""Compile routes; find the one that owns a request. (being written: signatures are final)"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gateway.model import CleanPath, Route


@dataclass(frozen=True, slots=True)
class RouteTable:
    """Routes, compiled."""

    routes: tuple[Route, ...]
    fallback: Route


class PatternFault(ValueError):
    """A path pattern or host that cannot be understood; the message says why."""


class Tie(ValueError):
    """Two routes own the same requests."""

    first: Route
    second: Route


def compile_routes(routes: Iterable[Route], fallback: Route) -> RouteTable:
    """Raise ``ExceptionGroup`` of ``Tie``."""
    return RouteTable(tuple(routes), fallback)


def check_pattern(pattern: str) -> str:
    """Return the pattern's one canonical spelling; raise PatternFault."""
    return pattern


def check_host(host: str) -> str:
    """Return the host's one canonical spelling (lower-case); raise PatternFault."""
    return host


def find(table: RouteTable, host: str, path: CleanPath, method: str) -> Route | tuple[str, ...]:
    """Return the owning route (maybe ``table.fallback``), or the methods to name in a 405."""
    raise NotImplementedError
