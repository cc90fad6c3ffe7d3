"""What an operator may write about a route's header fields, and how often it may be asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import model_validator

from gateway.config.kinds import (
    Count,
    CrossOrigin,
    Duration,
    Filled,
    Flag,
    Given,
    HeaderValue,
    Method,
    OneOrMany,
    Period,
    ReadableHeader,
    SetHeader,
    Strict,
    Switchable,
)


class CorsSettings(Strict):
    """``cors``: which pages of other origins may use the route. Pre-flights are answered here."""

    origins: Annotated[tuple[CrossOrigin, ...], Filled, OneOrMany]
    """Origins such as ``https://app.example.com``, or ``"*"`` for every one."""
    methods: Annotated[tuple[Method, ...], Filled] = ()
    """Methods that a pre-flight is told of. Unset: the one that it asks about."""
    headers: Annotated[tuple[ReadableHeader, ...], Filled] = ()
    """Request headers that pages may set, such as ``Content-Type``; ``"*"`` is every one but
    ``Authorization``. Unset: those that need no leave."""
    expose: Annotated[tuple[ReadableHeader, ...], Filled] = ()
    """Headers of answers that pages may read; ``"*"`` is every one. Unset: those that need no
    leave."""
    credentials: Flag = False
    """Whether requests come with cookies, so that pages see what the user sees; not together with
    ``"*"``. Default false."""
    max_age: Annotated[Duration | None, Given] = None
    """How long browsers may remember what a pre-flight was told. Unset: as long as they like."""


class SetHeadersSettings(Strict):
    """``set_headers``: fields of your own; every field of the same name gives way."""

    request: Mapping[SetHeader, HeaderValue] = {}
    """Towards the upstream. A value may be a secret: ``${NAME}`` or ``{file: path}``."""
    response: Mapping[SetHeader, HeaderValue] = {}
    """Towards the client, in answers of the upstream."""


class RemoveHeadersSettings(Strict):
    """``remove_headers``: fields that are not passed on."""

    request: Annotated[tuple[SetHeader, ...], Filled] = ()
    """Of the client."""
    response: Annotated[tuple[SetHeader, ...], Filled] = ()
    """Of the upstream."""


class SecurityHeadersSettings(Strict):
    """``security_headers``: added where the upstream set none; ``true`` is the defaults, ``false``
    leaves a field out."""

    hsts: Annotated[Duration | Literal[False], Switchable] = 365 * 86400.0
    """``Strict-Transport-Security``: how long browsers come by https only. Only where
    ``public_url`` is https. Default 365d."""
    include_subdomains: Flag = False
    """Whether ``hsts`` holds for all hosts below as well. Default false."""
    nosniff: Flag = True
    """``X-Content-Type-Options: nosniff``. Default true."""
    frame_options: Annotated[Literal["DENY", "SAMEORIGIN", False], Switchable] = "SAMEORIGIN"
    """``X-Frame-Options``: whose pages may show this one in a frame. Default ``SAMEORIGIN``."""
    referrer_policy: Annotated[
        Literal[
            "no-referrer",
            "same-origin",
            "strict-origin",
            "strict-origin-when-cross-origin",
            False,
        ],
        Switchable,
    ] = "strict-origin-when-cross-origin"
    """``Referrer-Policy``: what other sites learn of where their visitors come from. Default
    ``strict-origin-when-cross-origin``."""

    @model_validator(mode="before")
    @classmethod
    def _all_of_them(cls, value: object) -> object:
        if isinstance(value, dict):
            return value
        if value is True or value == "true":
            return {}
        raise ValueError("expected true, or a mapping of what to change of it")


class RateLimitSettings(Strict):
    """``rate_limit``: how often a route may be asked; beyond it 429 with ``Retry-After``."""

    requests: Count
    """So many may pass in any ``per``."""
    per: Period
    """A time of whole seconds."""
    by: Annotated[Literal["user", "session", "address"] | None, Given] = None
    """Whose requests count together; who is not signed in is counted by address. Unset: ``user``,
    or ``address`` with ``access: public``."""
