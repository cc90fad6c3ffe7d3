"""Why a route owns a request, and the others that match it do not.

Finding the owner needs none of this (``rules.routes``): here it is said in words, for people.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.model import CleanPath, Route
from gateway.rules.patterns import ONE, is_wild, split_pattern
from gateway.rules.routes import RouteTable, compile_routes, find


@dataclass(frozen=True, slots=True, kw_only=True)
class Rival:
    """A route that matches host and path of a request, and does not own it."""

    route: Route
    why: str


def rivals(table: RouteTable, host: str, path: CleanPath, method: str) -> tuple[Rival, ...]:
    """Return all routes that match host and path, but the owner; the most specific first."""
    owner = find(table, host, path, method)
    matching = sorted(
        (route for route in table.routes if _matches(route, table.fallback, host, path)),
        key=specificity,
    )
    return tuple(
        Rival(route=route, why=_why(route, matching[0], owner))
        for route in matching
        if route is not owner
    )


def specificity(route: Route) -> tuple[object, ...]:
    """Return what sorts routes that match one request, the most specific first.

    Exact host before wildcard before none; then, segment by segment, literal before one-segment
    before ``/**``.
    """
    if route.host is None:
        host = (2, 0)
    else:
        host = (1, -len(route.host)) if route.host.startswith("*") else (0, 0)
    return (host, *map(_rank, _segments(route)))


def _matches(route: Route, fallback: Route, host: str, path: CleanPath) -> bool:
    # A table of one route: what matches here matches there.
    return find(compile_routes([route], fallback), host, path, "") is not fallback


def _why(route: Route, first: Route, owner: Route | tuple[str, ...]) -> str:
    """Say why a route does not own what ``first``, the most specific one, matches as well."""
    if route.host != first.host:
        named = f"host {route.host}" if route.host else "no host"
        return f"less specific: it names {named}, and line {first.line} {first.host}"
    pairs = zip(_segments(route), _segments(first), strict=False)
    for at, (own, better) in enumerate(pairs, 1):
        if _rank(own) != _rank(better):
            return (
                f"less specific: segment {at} is {_named(own)}, "
                f"and {_named(better)} in line {first.line}"
            )
    if len(_segments(route)) != len(_segments(first)):
        return f"less specific: line {first.line} ends where this has /**"
    if not route.methods and isinstance(owner, Route):
        return f"it lists no method, and line {owner.line} lists this one"
    return f"it lists only {', '.join(route.methods)}"


def _segments(route: Route) -> tuple[str, ...]:
    return tuple(split_pattern(route.pattern, route.allow_in_path))


def _rank(segment: str) -> int:
    return 0 if not is_wild(segment) else 1 if segment == ONE else 2


def _named(segment: str) -> str:
    return repr(segment) if not is_wild(segment) else "any one" if segment == ONE else "/**"
