"""``routes:`` and ``defaults:``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from gateway.config.build.accept_apart import Unprefixed, check_named_users
from gateway.config.build.route_values import forwarding, label, rules, when_denied
from gateway.config.build.shaping import check_shaping
from gateway.config.report import Report
from gateway.config.route_settings import DefaultsSettings, RouteSettings
from gateway.config.source import Path
from gateway.model import Access, Forwarding, Route
from gateway.rules.headers import fold
from gateway.rules.patterns import PatternFault, check_host, check_pattern
from gateway.rules.roles import RoleTable
from gateway.rules.routes import RouteTable, Tie, compile_routes

_IDENTITY_RULES = (
    "role",
    "any_role",
    "all_roles",
    "permission",
    "any_permission",
    "all_permissions",
    "user",
)
_NOBODY = "none"
"""The label of requests that no route owns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What routes are checked against."""

    upstreams: tuple[str, ...]
    roles: RoleTable
    own_paths: Mapping[str, str]
    """Those that belong to the gateway, by the key that sets them."""
    identity_headers: tuple[str, ...]
    stale_for: float
    """What holds where a route says nothing."""
    cache: bool
    sources: tuple[str, ...]
    """Names in ``session.accept``."""
    unprefixed: Unprefixed


def usual_upstream(defaults: DefaultsSettings, upstreams: tuple[str, ...]) -> str | None:
    """Return who gets a request where nothing else is said; None: that has to be said."""
    if defaults.upstream is None and len(upstreams) == 1:
        return upstreams[0]
    return defaults.upstream


def build_routes(
    entries: Iterable[tuple[int, RouteSettings]],
    defaults: DefaultsSettings,
    around: Surroundings,
    report: Report,
) -> RouteTable | None:
    """Compile the routes; None beside a problem that leaves no table."""
    build = _Build(defaults, around, report)
    routes: dict[int, Route] = {}
    for index, settings in entries:
        route = build.route(index, settings)
        if route is not None:
            routes[index] = route
    fallback = build.fallback()
    try:
        return compile_routes(routes.values(), fallback)
    except ExceptionGroup as group:
        ties = [tie for tie in group.exceptions if isinstance(tie, Tie)]
    indexes = {id(route): index for index, route in routes.items()}
    for first, second in {(id(tie.first), id(tie.second)) for tie in ties}:
        line = routes[indexes[first]].line
        message = f"this route owns the same requests as the one in line {line}"
        report.error(("routes", indexes[second]), message)
    return None


class _Build:
    def __init__(self, defaults: DefaultsSettings, around: Surroundings, report: Report) -> None:
        self._defaults = defaults
        self._around = around
        self._report = report
        self._own = {
            name: check_pattern(path).split("/") for name, path in around.own_paths.items()
        }
        self._injected = {fold(name): name for name in around.identity_headers}
        self._upstream = usual_upstream(defaults, around.upstreams)
        if defaults.upstream is not None:
            self._check_upstream(("defaults", "upstream"), defaults.upstream)

    def fallback(self) -> Route:
        """Return the stand-in for requests that no route owns."""
        defaults = self._defaults
        if defaults.access is not Access.DENY and self._upstream is None and self._upstreams_known:
            self._report.error(
                ("defaults", "access"),
                "defaults.upstream is missing: there are several upstreams, "
                "and a request that no route owns needs one",
            )
        return Route(
            id=_NOBODY,
            access=defaults.access,
            when_denied=when_denied(defaults.when_denied),
            stale_for=self._around.stale_for,
            forwarding=Forwarding(upstream=self._upstream or ""),
            case_insensitive=defaults.case == "insensitive",
        )

    def route(self, index: int, settings: RouteSettings) -> Route | None:
        """Check one route by itself; None if it cannot stand."""
        report, path = self._report, ("routes", index)
        whole = report.sound(*path)
        access = settings.access or self._defaults.access
        pattern = self._pattern(path, settings) if report.sound(*path, "allow_in_path") else None
        host = self._host(path, settings)
        if settings.upstream is not None:
            self._check_upstream((*path, "upstream"), settings.upstream)
        self._check_roles(path, settings)
        self._check_sources(path, settings)
        self._check_kept(path, settings)
        if not whole or not report.sound("defaults", "access"):
            return None  # what follows might blame what was misspelt
        self._check_rules(path, settings, access)
        if access in (Access.LOGIN, Access.OPTIONAL):
            self._check_outage(path, settings)
        check_shaping(path, settings, access, self._injected, report)
        upstream = settings.upstream or self._upstream
        if upstream is None and access is not Access.DENY and self._upstreams_known:
            message = "this key is missing: there are several upstreams, and defaults names none"
            report.error((*path, "upstream"), message)
        if pattern is None or not report.sound(*path):
            return None
        return Route(
            id=label(settings),
            line=report.line(path),
            host=host,
            pattern=settings.path,
            methods=settings.methods,
            access=access,
            rules=rules(settings),
            when_denied=when_denied(settings.when_denied or self._defaults.when_denied),
            stale_for=self._stale_for(settings),
            accept=None if settings.accept is None else frozenset(settings.accept),
            forwarding=forwarding(settings, upstream or "", access),
            allow_in_path=frozenset(settings.allow_in_path),
            case_insensitive=(settings.case or self._defaults.case) == "insensitive",
        )

    @property
    def _upstreams_known(self) -> bool:
        """Whether a missing upstream is not merely the consequence of another problem."""
        return bool(self._around.upstreams) and self._report.sound("defaults", "upstream")

    def _check_upstream(self, path: Path, name: str) -> None:
        known = self._around.upstreams
        if name not in known and (known or self._report.sound("upstreams")):
            self._report.error(path, "no upstream is named %v", *known)

    def _pattern(self, path: Path, settings: RouteSettings) -> str | None:
        where = (*path, "path")
        try:
            pattern = check_pattern(settings.path, frozenset(settings.allow_in_path))
        except PatternFault as fault:
            self._report.error(where, _unless_hidden(fault, where, self._report))
            return None
        segments = pattern.split("/")
        for name, own in self._own.items():
            if segments[: len(own)] == own:
                self._report.error(where, f"everything under {name} belongs to the gateway")
                break
        if settings.strip_prefix and not _may_begin(segments, settings.strip_prefix):
            message = "no request of this route begins with this prefix"
            self._report.error((*path, "strip_prefix"), message)
        return pattern

    def _host(self, path: Path, settings: RouteSettings) -> str | None:
        if settings.host is None:
            return None
        where = (*path, "host")
        try:
            return check_host(settings.host)
        except PatternFault as fault:
            self._report.error(where, _unless_hidden(fault, where, self._report))
            return None

    def _check_roles(self, path: Path, settings: RouteSettings) -> None:
        known = self._around.roles.roles
        if not known:
            return
        if settings.role is not None and settings.role not in known:
            self._report.warn((*path, "role"), "`roles` does not know %v", *known)
        for name in ("any_role", "all_roles"):
            for index, role in enumerate(getattr(settings, name)):
                if role not in known:
                    self._report.warn((*path, name, index), "`roles` does not know %v", *known)

    def _check_sources(self, path: Path, settings: RouteSettings) -> None:
        known = self._around.sources
        for index, name in enumerate(settings.accept or ()):
            if name not in known and self._report.sound("session", "accept"):
                where = (*path, "accept", index)
                self._report.error(where, "`session.accept` has no source named %v", *known)
        if settings.user:
            check_named_users(
                (*path, "user"), settings.accept, self._around.unprefixed, self._report
            )

    def _check_kept(self, path: Path, settings: RouteSettings) -> None:
        for index, name in enumerate(settings.keep_headers):
            if fold(name) in self._injected:
                self._report.error(
                    (*path, "keep_headers", index),
                    "this is an identity header: a client's own is never passed on",
                )

    def _check_outage(self, path: Path, settings: RouteSettings) -> None:
        if settings.on_store_outage and not self._around.cache:
            message = "serve_stale needs session.cache: true"
            self._report.error((*path, "on_store_outage"), message)

    def _stale_for(self, settings: RouteSettings) -> float:
        own = settings.on_store_outage
        return self._around.stale_for if own is None else own

    def _check_rules(self, path: Path, settings: RouteSettings, access: Access) -> None:
        inherited = "" if settings.access else " (from defaults)"
        for name in _given(settings, *_IDENTITY_RULES, "accept", "on_store_outage", "network"):
            if access is Access.DENY:
                message = f"with access: deny{inherited} everybody is refused, and no rule is asked"
            elif access is Access.PUBLIC and name != "network":
                message = f"with access: public{inherited} nobody is asked who they are"
            else:
                continue
            self._report.error((*path, name), message, key=True)


def _given(settings: RouteSettings, *names: str) -> Iterator[str]:
    return (name for name in names if name in settings.model_fields_set)


def _unless_hidden(fault: PatternFault, path: Path, report: Report) -> str:
    return "expected a pattern or host" if report.hidden(path) else str(fault)


def _may_begin(segments: list[str], prefix: str) -> bool:
    """Whether a request of this pattern may begin with a prefix."""
    wanted = check_pattern(prefix).split("/")
    for index, segment in enumerate(wanted):
        if index >= len(segments):
            return False
        if segments[index] == "**":
            return True
        if segments[index] not in (segment, "*"):
            return False
    return True
