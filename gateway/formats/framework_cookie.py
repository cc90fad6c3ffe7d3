"""The gateway's own sessions as cookies of next-auth 4 and Auth.js 5, which the app behind reads.

The claims are those that the framework issues: ``name``, ``email``, ``picture`` and ``sub``, with
``roles`` and ``permissions`` besides. What else makes a session of ours is under one claim of its
own, which the framework carries along when it issues a token anew. Then ``iat`` is the time at
which the session was used; but its life is ours, whatever the app has configured.

A token without that claim is one that the app made by itself, and no session of ours.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Annotated, Any
from uuid import UUID

import msgspec

from gateway.errors import BadCookie
from gateway.formats import base64url
from gateway.formats.foreign import Refused
from gateway.formats.sealed import HANDLE_BYTES, key_for
from gateway.model import SealedSession, SessionId, User

OURS = "session-gateway"
"""The claim with what only the gateway needs."""

_JTI = 16


class FrameworkSeal:
    """Seals sessions as a framework does.

    Args:
        codec: ``formats.nextauth`` or ``formats.authjs``.
        secrets: The first seals, as the app has it; all open.
        cookie: The cookie's name, prefix included.
        idle_timeout: Seconds that a token of the app's making is good for, from ``iat`` on.
    """

    def __init__(
        self, codec: ModuleType, secrets: Sequence[str], cookie: str, *, idle_timeout: float
    ) -> None:
        self._codec = codec
        self._keys = codec.Keys(secrets, cookie)
        self._idle_timeout = idle_timeout

    def seal(self, session: SealedSession, random: Callable[[int], bytes]) -> str:
        """Return the token that holds a session."""
        user = session.user
        if session.anonymous:
            raise ValueError("to the app, a token that names nobody would be somebody signed in")
        claims: dict[str, Any] = {
            # Null rather than absent, so that pages can pass them on as they are.
            "name": user.name,
            "email": user.email,
            "picture": user.image,
            "sub": user.id,
            "roles": user.roles,
        }
        if user.permissions:
            claims["permissions"] = user.permissions
        claims[OURS] = _Ours(
            handle=base64url.encode(session.handle),
            id=session.id,
            provider=user.provider,
            created_at=session.created_at,
            ends_at=session.ends_at,
            touched_at=session.touched_at,
            expires_at=session.expires_at,
            since=session.since,
            remembered=session.remembered,
            data=dict(session.data),
        )
        text: str = self._codec.seal(
            claims,
            self._keys,
            now=session.touched_at,
            max_age=math.floor(session.expires_at) - math.floor(session.touched_at),
            jti=str(UUID(bytes=random(_JTI), version=4)),
            iv=random(self._codec.IV_BYTES),
        )
        return text

    def unseal(self, text: str, *, now: float) -> SealedSession:
        """Return the session that a token holds.

        Raises:
            BadCookie: It is no token of the framework's, none that we began, or over.
        """
        try:
            claims = self._codec.open(text, self._keys, now).claims
        except Refused as exc:
            raise BadCookie(str(exc)) from exc
        try:
            read = msgspec.convert(claims, _Claims)
        except (msgspec.ValidationError, RecursionError) as exc:
            raise BadCookie("a token of the framework's that is no session of ours") from exc
        return self._session(read, now)

    def _session(self, claims: _Claims, now: float) -> SealedSession:
        ours = claims.ours
        handle = _handle(ours.handle)
        touched_at, expires_at = ours.touched_at, ours.expires_at
        if claims.iat != math.floor(touched_at):  # the app has issued it anew
            touched_at = max(touched_at, min(claims.iat, now))
            expires_at = min(touched_at + self._idle_timeout, claims.exp)
        expires_at = min(expires_at, ours.ends_at)
        if not now < expires_at:
            raise BadCookie("a session that is over")
        return SealedSession(
            key=key_for(handle),
            id=SessionId(ours.id),
            user=User(
                id=claims.sub,
                provider=ours.provider,
                name=claims.name,
                email=claims.email,
                image=claims.picture,
                roles=claims.roles,
                permissions=claims.permissions,
            ),
            created_at=ours.created_at,
            ends_at=ours.ends_at,
            touched_at=touched_at,
            expires_at=expires_at,
            data=ours.data,
            remembered=ours.remembered,
            handle=handle,
            since=ours.since,
        )


def _handle(text: str) -> bytes:
    try:
        handle = base64url.decode(text)
    except ValueError as exc:
        raise BadCookie("a session without a handle") from exc
    if len(handle) != HANDLE_BYTES:
        raise BadCookie("a session without a handle")
    return handle


class _Ours(msgspec.Struct, kw_only=True, gc=False, omit_defaults=True):
    """What later versions add has a default, and an older gateway passes over it."""

    handle: str
    id: str
    provider: str
    created_at: float
    ends_at: float
    touched_at: float
    expires_at: float
    since: float
    remembered: bool = True
    data: dict[str, Any] = {}


class _Claims(msgspec.Struct, kw_only=True, gc=False):
    sub: Annotated[str, msgspec.Meta(min_length=1)]
    iat: float
    exp: float
    ours: _Ours = msgspec.field(name=OURS)
    name: str | None = None
    email: str | None = None
    picture: str | None = None
    roles: tuple[str, ...] = ()
    permissions: tuple[str, ...] = ()
