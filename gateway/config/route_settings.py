"""What an operator may write about routes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, model_validator

from gateway.config.kinds import (
    Duration,
    Filled,
    Flag,
    Given,
    KeptHeader,
    Label,
    Method,
    NetworkText,
    Off,
    OneOrMany,
    OnStoreOutage,
    Origin,
    PageAddress,
    PermissionName,
    PlainPath,
    RoleName,
    Size,
    Strict,
    Text,
    UserId,
)
from gateway.config.shaping_settings import (
    CorsSettings,
    RateLimitSettings,
    RemoveHeadersSettings,
    SecurityHeadersSettings,
    SetHeadersSettings,
)
from gateway.model import Access, DenialStyle


class WhenDeniedSettings(Strict):
    """``when_denied``: ``auto``, ``json`` or ``redirect``, or pages of the operator's own."""

    style: DenialStyle = DenialStyle.AUTO
    """``auto`` tells people from programs, ``json`` answers as to a program, ``redirect`` as to
    people. Default ``auto``."""
    unauthenticated: Annotated[PageAddress | None, Given] = None
    """Where somebody goes who is not signed in. Unset: the sign-in page."""
    forbidden: Annotated[PageAddress | None, Given] = None
    """Where somebody goes who is, but may not. Unset: the gateway's 403."""

    @model_validator(mode="before")
    @classmethod
    def _style_or_pages(cls, value: object) -> object:
        if isinstance(value, str):
            return {"style": value}
        if not isinstance(value, dict) or "style" in value:
            raise ValueError(
                "expected auto, json, redirect or {unauthenticated: URL, forbidden: URL}"
            )
        return value


Case = Literal["sensitive", "insensitive"]


def _in_capitals(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


PathMark = Annotated[Literal["%2F", "%3F", "%23", ";", "%25"], BeforeValidator(_in_capitals)]


class DefaultsSettings(Strict):
    """``defaults``: for what a route leaves out, and for a request that no route owns."""

    access: Access = Access.DENY
    """Who is asked. Default ``deny``."""
    upstream: Annotated[Label | None, Given] = None
    """Who gets the request. Unset: the only upstream, where there is one only."""
    case: Case = "sensitive"
    """Whether literal segments match in their own case only. Default ``sensitive``."""
    when_denied: WhenDeniedSettings = WhenDeniedSettings()
    """How refusals are told. Default ``auto``."""


class RouteSettings(Strict):
    """One entry of ``routes``. All rules given must hold; without one, ``access`` alone decides."""

    host: Annotated[Text | None, Given] = None
    """Exact, or ``*.example.com``. Unset: every host."""
    path: Text
    """A pattern of whole segments: literal, ``{name}``, ``*``, and ``/**`` at the end."""
    methods: Annotated[tuple[Method, ...], Filled] = ()
    """Unset: every method. GET covers HEAD."""
    access: Annotated[Access | None, Given] = None
    """Who is asked. Unset: ``defaults.access``."""
    role: Annotated[RoleName | None, Given] = None
    """The caller has this role."""
    any_role: Annotated[tuple[RoleName, ...], Filled] = ()
    """The caller has one of these roles."""
    all_roles: Annotated[tuple[RoleName, ...], Filled] = ()
    """The caller has all of these roles."""
    permission: Annotated[PermissionName | None, Given] = None
    """The caller has this permission."""
    any_permission: Annotated[tuple[PermissionName, ...], Filled] = ()
    """The caller has one of these permissions."""
    all_permissions: Annotated[tuple[PermissionName, ...], Filled] = ()
    """The caller has all of these permissions."""
    user: Annotated[tuple[UserId, ...], Filled, OneOrMany] = ()
    """The caller is this user, or one of this list."""
    network: Annotated[tuple[NetworkText, ...], Filled, OneOrMany] = ()
    """The client's address is in this network, or one of this list."""
    accept: Annotated[tuple[Label, ...] | None, Given] = None
    """Names of sources in ``session.accept`` whose sessions count here; the gateway's own do
    always. Unset: all of them."""
    when_denied: Annotated[WhenDeniedSettings | None, Given] = None
    """How refusals are told. Unset: ``defaults.when_denied``."""
    on_store_outage: Annotated[OnStoreOutage | None, Given] = None
    """What happens here while sessions cannot be asked for. Unset: ``session.on_store_outage``."""
    upstream: Annotated[Label | None, Given] = None
    """Who gets the request. Unset: ``defaults.upstream``."""
    strip_prefix: Annotated[PlainPath | None, Given] = None
    """Taken from the front of the path before the upstream sees it. Unset: nothing."""
    add_prefix: Annotated[PlainPath | None, Given] = None
    """Put in front of the path, after ``strip_prefix``. Unset: nothing."""
    preserve_host: Flag = True
    """Whether the upstream gets the client's ``Host``, or that of its own address. Default true."""
    timeout: Annotated[Duration | None, Given] = None
    """How long the upstream may take to begin its answer. Unset: its ``first_byte``."""
    max_body: Annotated[Size | None, Given] = None
    """Bytes that a request body may have; more is 413. Unset: no limit."""
    keep_headers: Annotated[tuple[KeptHeader, ...], Filled] = ()
    """Names of headers passed on though they could re-route or re-address. Unset: none."""
    websocket: Flag = True
    """Whether an upgrade is passed on. Default true."""
    origins: Annotated[tuple[Origin, ...], Filled] = ()
    """Origins, besides ``public_url``, whose pages may open a WebSocket. Unset: none."""
    allow_in_path: Annotated[tuple[PathMark, ...], Filled] = ()
    """Of ``%2F %3F %23 ; %25``: what paths here may hold though parsers differ. Unset: none."""
    case: Annotated[Case | None, Given] = None
    """Whether literal segments match in their own case only. Unset: ``defaults.case``."""
    set_headers: SetHeadersSettings = SetHeadersSettings()
    """Header fields of your own. Unset: none."""
    remove_headers: RemoveHeadersSettings = RemoveHeadersSettings()
    """Header fields that are not passed on. Unset: none."""
    security_headers: Annotated[SecurityHeadersSettings | None, Off] = None
    """``true``, or a mapping: what keeps browsers careful, where the upstream set none. Default
    false."""
    cors: Annotated[CorsSettings | None, Given] = None
    """Which pages of other origins may use the route. Unset: browsers keep them out, unless the
    upstream says otherwise."""
    rate_limit: Annotated[RateLimitSettings | None, Given] = None
    """How often it may be asked. Unset: without limit."""
    session_control: Flag = False
    """Whether the upstream's answers may sign users in and out and change their sessions, by
    ``X-Session-Create``, ``X-Session-Update`` and ``X-Session-Destroy``. Default false."""
