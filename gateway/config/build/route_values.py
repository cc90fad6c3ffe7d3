"""The parts of a route, from what the operator wrote."""

from __future__ import annotations

from gateway.config.route_settings import RouteSettings, WhenDeniedSettings
from gateway.model import Forwarding, Rules, WhenDenied
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


def forwarding(settings: RouteSettings, upstream: str) -> Forwarding:
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
    )
