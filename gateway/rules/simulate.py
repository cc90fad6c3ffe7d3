"""What would happen to a request: the way of ``server/pipeline.py``, with nobody at either end.

It is made of the very functions that serve requests, in the same order, so that a policy test and
``gateway explain`` say what the gateway does. The request is a browser's navigation.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from gateway.errors import AmbiguousPath, ClientError, Reason
from gateway.model import (
    Allow,
    Caller,
    Challenge,
    CleanPath,
    IdentityField,
    Lifetime,
    Network,
    Route,
    SessionId,
    SessionKey,
    Upstream,
    User,
)
from gateway.rules import navigation
from gateway.rules.denials import refuse
from gateway.rules.forwarded import client_address
from gateway.rules.headers import RequestFields
from gateway.rules.identity import REQUEST_ID, identity_fields
from gateway.rules.paths import clean, refused_marks, rewrite, under
from gateway.rules.policy import decide
from gateway.rules.provenance import provenance_block
from gateway.rules.roles import RoleTable
from gateway.rules.routes import RouteTable, find
from gateway.rules.sessions import born
from gateway.rules.shaping import names_of
from gateway.rules.targets import read_target

EXAMPLE_REQUEST_ID = "example-request-id"
EXAMPLE_SESSION_ID = "example-session-id"
LOOPBACK = "127.0.0.1"
SET_BY_ROUTE = "(from set_headers)"
"""In the place of a value that may be a secret."""

NAVIGATION = {
    "Accept": "text/html,application/xhtml+xml,*/*;q=0.8",
    "Sec-Fetch-Mode": "navigate",
}
"""What a browser says of a request for a page, as far as it matters."""

_AUTHORITY = re.compile(r"https?://([^/?#]*)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What of a configuration decides about a request, and about what the upstream gets."""

    table: RouteTable
    roles: RoleTable
    upstreams: Mapping[str, Upstream]
    identity_headers: Mapping[str, IdentityField]
    lifetime: Lifetime
    trusted_proxies: tuple[Network, ...]
    own_paths: tuple[str, ...]
    """Where the gateway's own pages are."""
    sign_in: str
    """Address of the sign-in page, with ``{return_to}``."""
    public_url: str
    secure: bool
    """Whether the gateway itself speaks TLS."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """A request that somebody's browser would make to open a page."""

    method: str
    target: str
    """A path with query, or a URL with a host."""
    user: User | None = None
    """Who is signed in; None: nobody."""
    client: str = LOOPBACK


class Verdict(StrEnum):
    """A decision in one word."""

    ALLOW = "allow"
    CHALLENGE = "challenge"
    DENY = "deny"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a visit comes to."""

    verdict: Verdict
    reason: Reason
    status: int
    """Told to the client; 200 stands for whatever the upstream answers."""
    kind: str = ""
    """As in a policy test: ``login``, ``json`` or empty."""
    location: str | None = None
    detail: str = ""
    """What is wrong with a request that cannot be understood."""
    allow: tuple[str, ...] = ()
    """The methods that routes list, with 405."""
    host: str = ""
    path: CleanPath | None = None
    """None: it could not be understood."""
    owner: Route | None = None
    """The route that owns the request, or the stand-in where none does. None: nobody asked for it,
    or routes own the path and none lists the method."""
    caller: Caller | None = None
    """Who asks, with all that their roles bring."""
    upstream: str = ""
    upstream_path: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    """What the upstream gets, in its order."""


def simulate(policy: Policy, visit: Visit, *, now: float) -> Outcome:
    """Say what would happen to a visit.

    Args:
        now: When the session began that the upstream is told of.
    """
    host_header = _host_header(policy, visit.target)
    caller = None if visit.user is None else policy.roles.caller(visit.user)
    try:
        host, raw_path, query = read_target(visit.target, host_header, visit.method)
        path = clean(raw_path)
    except ClientError as error:
        return _failed(visit, error, caller=caller)
    if any(under(path.text, own) for own in policy.own_paths):
        return Outcome(
            verdict=Verdict.ALLOW, reason=Reason.PAGE, status=200, host=host, path=path,
            caller=caller,
        )  # fmt: skip

    fallback = policy.table.fallback
    found = find(policy.table, host, path, visit.method)
    owner = found if isinstance(found, Route) else None
    route = owner or fallback
    if refused := refused_marks(path, route):
        listed = AmbiguousPath(f"allow_in_path does not list {', '.join(sorted(refused))}")
        return _failed(visit, listed, caller=caller, host=host, path=path, owner=owner)
    client = client_address(visit.client, (), policy.trusted_proxies, trust_unix=False)
    decision = decide(found, caller, client=client, fallback=fallback)
    if isinstance(decision, Allow):
        return Outcome(
            verdict=Verdict.ALLOW,
            reason=Reason.OK,
            status=200,
            host=host,
            path=path,
            owner=owner,
            caller=caller,
            upstream=route.forwarding.upstream,
            upstream_path=_upstream_path(route, path, query),
            headers=_upstream_headers(policy, visit, decision, host_header, now=now),
        )
    told = refuse(
        decision,
        method=visit.method,
        navigation=_is_navigation(visit.method),
        return_to=f"{path.text}?{query}" if query else path.text,
        sign_in=policy.sign_in,
        public_url=policy.public_url,
    )
    challenged = isinstance(decision, Challenge)
    return Outcome(
        verdict=Verdict.CHALLENGE if challenged else Verdict.DENY,
        reason=told.reason,
        status=told.status,
        kind=("login" if challenged else "") if told.location else "" if told.page else "json",
        location=told.location,
        allow=told.allow,
        host=host,
        path=path,
        owner=owner,
        caller=caller,
    )


def _host_header(policy: Policy, target: str) -> str:
    """Return the ``Host`` a browser sends with a target: the URL's, or that of ``public_url``."""
    match = _AUTHORITY.match(target) or _AUTHORITY.match(policy.public_url)
    return "" if match is None else match[1]


def _is_navigation(method: str) -> bool:
    return navigation.is_navigation(
        method,
        fetch_mode=NAVIGATION["Sec-Fetch-Mode"],
        fetch_dest=None,
        requested_with=None,
        accept=NAVIGATION["Accept"],
    )


def _failed(
    visit: Visit,
    error: ClientError,
    *,
    caller: Caller | None,
    host: str = "",
    path: CleanPath | None = None,
    owner: Route | None = None,
) -> Outcome:
    return Outcome(
        verdict=Verdict.DENY,
        reason=error.reason,
        status=error.status,
        kind="" if _is_navigation(visit.method) else "json",
        detail=str(error),
        host=host,
        path=path,
        owner=owner,
        caller=caller,
    )


def _upstream_path(route: Route, path: CleanPath, query: str) -> str:
    forwarding = route.forwarding
    target = rewrite(path, forwarding.strip_prefix, forwarding.add_prefix)
    return f"{target}?{query}" if query else target


def _upstream_headers(
    policy: Policy, visit: Visit, decision: Allow, host_header: str, *, now: float
) -> tuple[tuple[str, str], ...]:
    forwarding = decision.route.forwarding
    set_by_route = forwarding.request_headers
    injected = (*policy.identity_headers, *names_of(set_by_route))
    fields = RequestFields(injected, forwarding.keep_headers)
    sent = [(name.encode(), value.encode()) for name, value in NAVIGATION.items()]
    upstream = policy.upstreams[forwarding.upstream]
    scheme = "https" if policy.secure else policy.public_url.partition("://")[0]
    said = provenance_block(
        peer=visit.client, chain=(), elements=(), host=host_header, proto=scheme
    )
    headers = [("Host", host_header if forwarding.preserve_host else upstream.target.authority)]
    headers += _pairs(fields.split(sent)[0])
    headers += [(name, SET_BY_ROUTE) for name, _ in set_by_route.fields]
    headers += _pairs(said.splitlines())
    if decision.caller is not None:
        user = decision.caller.user
        session = born(
            user, SessionKey(""), SessionId(EXAMPLE_SESSION_ID), policy.lifetime, now=now
        )
        headers += identity_fields(policy.identity_headers, session, decision.caller)
    return (*headers, (REQUEST_ID, EXAMPLE_REQUEST_ID))


def _pairs(lines: list[bytes]) -> list[tuple[str, str]]:
    pairs = (line.decode().partition(": ") for line in lines)
    return [(name, value) for name, _, value in pairs]
