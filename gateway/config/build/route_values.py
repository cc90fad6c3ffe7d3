"""The parts of a route, from what the operator wrote."""

from __future__ import annotations

from gateway.config.route_settings import RouteSettings, WhenDeniedSettings
from gateway.config.shaping_settings import (
    CorsSettings,
    RateLimitSettings,
    SecurityHeadersSettings,
)
from gateway.model import (
    Access,
    Cors,
    CountedBy,
    Forwarding,
    RateLimit,
    Rules,
    SecurityHeaders,
    ShapedHeaders,
    WhenDenied,
)
from gateway.rules.headers import fold


def label(settings: RouteSettings) -> str:
    """Return how logs and metrics call a route."""
    methods = ",".join(settings.methods)
    return f"{methods} {settings.host or ''}{settings.path}".lstrip()


def when_denied(settings: WhenDeniedSettings) -> WhenDenied:
    """Return how refusals are told."""
    return WhenDenied(
        style=settings.style,
        unauthenticated=settings.unauthenticated,
        forbidden=settings.forbidden,
    )


def rules(settings: RouteSettings) -> Rules:
    """Return what must hold."""
    return Rules(
        all_roles=_all(settings.role, settings.all_roles),
        any_role=settings.any_role,
        all_permissions=_all(settings.permission, settings.all_permissions),
        any_permission=settings.any_permission,
        users=frozenset(settings.user),
        networks=settings.network,
    )


def _all(one: str | None, several: tuple[str, ...]) -> tuple[str, ...]:
    return several if one is None or one in several else (one, *several)


def forwarding(settings: RouteSettings, upstream: str, access: Access) -> Forwarding:
    """Return what happens to a request on its way."""
    return Forwarding(
        upstream=upstream,
        strip_prefix=settings.strip_prefix or "",
        add_prefix=settings.add_prefix or "",
        preserve_host=settings.preserve_host,
        timeout=settings.timeout,
        max_body=settings.max_body,
        keep_headers=frozenset(map(fold, settings.keep_headers)),
        websocket=settings.websocket,
        origins=frozenset(settings.origins),
        request_headers=ShapedHeaders(
            fields=tuple(settings.set_headers.request.items()),
            removed=settings.remove_headers.request,
        ),
        answer_headers=ShapedHeaders(
            fields=tuple(settings.set_headers.response.items()),
            removed=settings.remove_headers.response,
        ),
        security_headers=_security(settings.security_headers),
        cors=_cors(settings.cors),
        rate_limit=_rate_limit(settings.rate_limit, access),
        session_control=settings.session_control,
    )


def _security(settings: SecurityHeadersSettings | None) -> SecurityHeaders | None:
    if settings is None:
        return None
    return SecurityHeaders(
        hsts=settings.hsts or None,
        include_subdomains=settings.include_subdomains,
        nosniff=settings.nosniff,
        frame_options=settings.frame_options or None,
        referrer_policy=settings.referrer_policy or None,
    )


def _cors(settings: CorsSettings | None) -> Cors | None:
    if settings is None:
        return None
    return Cors(
        origins=frozenset(settings.origins) - {"*"},
        any_origin="*" in settings.origins,
        methods=settings.methods,
        headers=settings.headers,
        expose=settings.expose,
        credentials=settings.credentials,
        max_age=None if settings.max_age is None else int(settings.max_age),
    )


def _rate_limit(settings: RateLimitSettings | None, access: Access) -> RateLimit | None:
    if settings is None:
        return None
    usual = CountedBy.ADDRESS if access is Access.PUBLIC else CountedBy.USER
    return RateLimit(
        requests=settings.requests,
        window=settings.per,
        by=usual if settings.by is None else CountedBy(settings.by),
    )
