"""Everything that one configuration makes of the gateway: built whole, swapped whole.

A reload builds a new ``Gateway`` and exchanges one reference; requests under way keep theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.config.accepted import Kind
from gateway.config.config import Config
from gateway.login.callbacks import Callbacks
from gateway.model import (
    Access,
    Balance,
    Caller,
    IdentityField,
    RateLimit,
    Route,
    Session,
    Target,
    Upstream,
)
from gateway.rates.protocol import Rates
from gateway.rules import csrf
from gateway.rules.app_cookies import AppCookie, AppCookies
from gateway.rules.cookies import Looks
from gateway.rules.headers import RequestFields, fold
from gateway.rules.identity import REQUEST_ID, STALE, identity_block
from gateway.rules.paths import under
from gateway.rules.roles import is_plain_name
from gateway.rules.shaping import field_lines, names_of
from gateway.server.auth_endpoints import AuthEndpoints
from gateway.server.forwarding import Forwarder
from gateway.server.session_control import Control, Ignored, SessionControl
from gateway.server.session_cookie import SessionCookies
from gateway.server.shaping import Shaper, shaper
from gateway.sources.protocol import Source
from gateway.stores.held import Held
from gateway.stores.keeper import Keeper
from gateway.stores.live import LiveSessions
from gateway.telemetry.metrics import Metrics, RouteMeter
from gateway.upstream.deadlines import Deadlines
from gateway.upstream.dialing import SystemResolver
from gateway.upstream.lending import Lender, lender

if TYPE_CHECKING:
    from gateway.server.ongoing import Ongoing


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutePlan:
    """What a request on a route needs, prepared."""

    route: Route
    meter: RouteMeter
    fields: RequestFields
    pool: Lender
    sticky: bool
    """Whether the same ones who ask get the same target."""
    limit: float
    """Seconds the upstream may take to begin its answer."""
    host: bytes | None
    """The ``Host`` for the upstream; None: the client's."""
    rewrites: bool
    """Whether the path for the upstream is another than the one that was matched."""
    origins: frozenset[str]
    """Origins whose pages may open a WebSocket with a session."""
    set_lines: tuple[bytes, ...]
    """Header lines of the operator's own for the upstream."""
    varies: bool
    """Whether answers may depend on who asked."""
    sources: tuple[Source, ...]
    """Whose sessions count besides our own, in their order."""
    kept_from: tuple[Looks, ...]
    """What finds cookies of other frameworks that the upstream must not set."""
    carries: bool
    """Whether the upstream reads the session's own cookie."""
    shaper: Shaper | None
    """Changes the answers, the upstream's and our own; None where nothing is to be changed."""
    rate_limit: RateLimit | None
    stale_for: float
    """Seconds that a session may be stale while the store cannot be asked; 0: 503."""
    ongoing: Ongoing
    """Where answers that go on are listed."""
    obeys: bool
    """Whether the upstream may say what becomes of the session."""
    control: Control
    """What is done where an answer says so."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A session's user as policy and upstream see them; kept beside the cached session."""

    era: object
    """Of the configuration whose roles and headers these are: after a reload it is another."""
    session: Session
    caller: Caller | None
    """None: the session of a visitor whom nobody knows."""
    user: str
    """Their id, for the log; empty: nobody knows it."""
    renew: bool
    """Whether the session's token is to be exchanged before anything else."""
    block: bytes
    """The identity headers as they stand on the wire."""
    stale: bool
    """Whether the store could not confirm the session."""


class Gateway:
    """One configuration, ready to serve."""

    def __init__(
        self,
        config: Config,
        *,
        sessions: LiveSessions,
        keeper: Keeper,
        cookies: SessionCookies,
        sources: tuple[Source, ...] = (),
        ongoing: Ongoing,
        callbacks: Callbacks,
        endpoints: AuthEndpoints,
        metrics: Metrics,
        deadlines: Deadlines,
        wall: Callable[[], float],
        date: Callable[[], bytes],
        rates: Rates,
        log_dropped: Callable[[str, list[str]], None],
        log_target: Callable[..., None],
    ) -> None:
        self.config = config
        self.rates = rates
        self._era = object()  # a cached session must not keep a whole old configuration alive
        self.sessions = sessions
        self.keeper = keeper
        self.cookies = cookies
        self.anonymous = config.session.anonymous
        """Whether visitors get sessions."""
        self.ongoing = ongoing
        self._callbacks = callbacks
        self._wall = wall
        self.endpoints = endpoints
        self.table = config.table
        self.roles = config.roles
        self.lifetime = config.session.lifetime
        form = csrf.cookie_shape(config.server.public_url).name.encode()
        self.own_cookies = frozenset({form, *(name.encode() for name in cookies.names)})
        self.session_cookie = config.session.cookie.name.encode()
        self.carries = bool(config.session.forward_to)
        """Whether any upstream reads the session's own cookie."""
        self.sources = sources
        self.app_cookies = AppCookies(map(_app_cookie, sources)) if sources else None
        """Sorts the cookies of other frameworks; None: none is accepted."""
        self.base_path = config.server.base_path
        self.login_path = config.login.path
        self.sign_in = config.login.page
        """Address of the sign-in page, with ``{return_to}``."""
        self.public_url = config.server.public_url
        self.public_scheme = self.public_url.partition("://")[0]
        others = [
            name
            for name, field in config.identity_headers.items()
            if field is IdentityField.REQUEST_ID and fold(name) != fold(REQUEST_ID)
        ]
        self.ending = b"".join(b"%b: \0\r\n" % n.encode() for n in (REQUEST_ID, *others)) + b"\r\n"
        """The end of every head for an upstream; the request's id takes the place of NUL."""
        self.own_paths = (self.base_path, self.login_path)
        self.update_age = min(self.lifetime.update_age, self.lifetime.idle_timeout / 2)
        """Seconds below which ``sessions.due`` says no: asked only beyond."""
        self.trusted = config.server.trusted_proxies
        self.most_requests = config.server.limits.requests
        self.tracing = config.server.tracing
        self.trust_unix = config.server.trust_unix
        self.forwarder = Forwarder(self.own_cookies, date)
        resolver = SystemResolver()
        self.pools: Mapping[str, Lender] = {
            name: lender(upstream, deadlines, resolver, log_target)
            for name, upstream in config.upstreams.items()
        }
        nowhere = Upstream(name="", targets=(Target(scheme="unix", path=""),))
        self._nowhere = lender(nowhere, deadlines, resolver, log_target)
        fields: dict[tuple[frozenset[str], frozenset[str]], RequestFields] = {}
        self._plans: dict[str, RoutePlan] = {}
        for route in (*config.table.routes, config.table.fallback):
            own = frozenset(names_of(route.forwarding.request_headers))
            key = (route.forwarding.keep_headers, own)
            if key not in fields:
                fields[key] = RequestFields((*config.identity_headers, *own), key[0])
            self._plans[route.id] = self._prepare(route, fields[key], metrics)
        self.cross_origin = any(route.forwarding.cors for route in config.table.routes)
        """Whether any route answers to pages of other origins."""
        self.unrouted = metrics.route("none")
        self.own_pages = metrics.route("gateway")
        self._log_dropped = log_dropped

    def _prepare(self, route: Route, fields: RequestFields, metrics: Metrics) -> RoutePlan:
        forwarding = route.forwarding
        # A route that denies everybody may have no upstream; nothing is ever sent to this one.
        pool = self.pools.get(forwarding.upstream, self._nowhere)
        upstream = pool.upstream
        return RoutePlan(
            route=route,
            meter=metrics.route(route.id),
            fields=fields,
            pool=pool,
            sticky=upstream.balance is Balance.STICKY,
            limit=forwarding.timeout or upstream.timeouts.first_byte,
            host=None if forwarding.preserve_host else upstream.target.authority.encode(),
            rewrites=bool(forwarding.strip_prefix or forwarding.add_prefix),
            origins=forwarding.origins | {self.config.server.public_url},
            set_lines=field_lines(forwarding.request_headers.fields),
            varies=route.access in (Access.LOGIN, Access.OPTIONAL),
            sources=()
            if route.access not in (Access.LOGIN, Access.OPTIONAL)
            else tuple(
                source
                for source in self.sources
                if route.accept is None or source.name in route.accept
            ),
            kept_from=()
            if self.app_cookies is None
            else self.app_cookies.kept_from(forwarding.upstream),
            carries=forwarding.upstream in self.config.session.forward_to
            and route.access in (Access.LOGIN, Access.OPTIONAL),
            shaper=shaper(
                forwarding,
                public_url=self.config.server.public_url,
                upstream_hosts=frozenset()
                if forwarding.preserve_host
                else frozenset(target.authority for target in upstream.targets),
            ),
            rate_limit=forwarding.rate_limit,
            stale_for=route.stale_for,
            ongoing=self.ongoing,
            obeys=forwarding.session_control,
            control=self._control(route),
        )

    def _control(self, route: Route) -> Control:
        if not route.forwarding.session_control:
            return Ignored(route.id)
        return SessionControl(
            route=route.id,
            upstream=route.forwarding.upstream,
            session=self.config.session,
            keeper=self.keeper,
            sessions=self.sessions,
            cookies=self.cookies,
            callbacks=self._callbacks,
            wall=self._wall,
        )

    def plan(self, route: Route) -> RoutePlan:
        """Return what was prepared for a route of this configuration."""
        return self._plans[route.id]

    def owns(self, path: str) -> bool:
        """Whether a canonical path belongs to the gateway itself."""
        return under(path, self.base_path) or under(path, self.login_path)

    def identity(self, held: Held) -> Identity:
        """Return what policy and upstream see of a session, made once for each."""
        known = held.caller
        if isinstance(known, Identity) and known.era is self._era and known.session is held.session:
            return known
        session = held.session
        user = session.user
        caller = None if session.anonymous else self.roles.caller(user)
        unspeakable = [n for n in (*user.roles, *user.permissions) if not is_plain_name(n)]
        if unspeakable:
            self._log_dropped(user.id, unspeakable)
        block = identity_block(self.config.identity_headers, session, caller)
        if held.stale:
            block += b"%b: 1\r\n" % STALE.encode()
        identity = Identity(
            self._era,
            session,
            caller,
            user=user.id,
            renew=session.renewal is not None,
            block=block,
            stale=held.stale,
        )
        held.caller = identity
        return identity

    def start(self) -> None:
        """Begin to look after the upstreams."""
        for pool in self.pools.values():
            pool.start()

    def close(self) -> None:
        """Let upstream connections go as they become idle."""
        for pool in self.pools.values():
            pool.close()


def _app_cookie(source: Source) -> AppCookie:
    config = source.config
    return AppCookie(
        names=config.cookies,
        forward_to=config.forward_to,
        beginnings=config.kind in (Kind.NEXTAUTH, Kind.AUTHJS, Kind.DATABASE),
    )
