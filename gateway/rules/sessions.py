"""The life of a session: birth, renewal, end, and the record of it that a store keeps.

The record leaves out ``touched_at`` and ``expires_at``. A store keeps them beside it, so that
moving the expiry rewrites nothing else and can never undo a change made meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, TypeVar

import msgspec

from gateway.errors import CorruptRecord
from gateway.model import (
    ANONYMOUS,
    Lifetime,
    Renewal,
    Session,
    SessionId,
    SessionKey,
    User,
)

AnySession = TypeVar("AnySession", bound=Session)

GRACE = 10.0
"""Seconds that an old token still answers after a renewal which changed no rights."""

_DEVICE = 256


def born(
    user: User,
    key: SessionKey,
    session_id: SessionId,
    lifetime: Lifetime,
    *,
    now: float,
    data: Mapping[str, Any] | None = None,
    device: str = "",
    address: str = "",
    remembered: bool = True,
) -> Session:
    """Return the session that begins now.

    Args:
        device: ``User-Agent``, as it came.
    """
    ends_at = now + lifetime.max_age
    return Session(
        key=key,
        id=session_id,
        user=user,
        created_at=now,
        ends_at=ends_at,
        touched_at=now,
        expires_at=min(now + lifetime.idle_timeout, ends_at),
        data={} if data is None else data,
        device="".join(c for c in device[:_DEVICE] if c.isprintable()),
        address=address,
        remembered=remembered,
    )


def due(session: Session, lifetime: Lifetime, *, now: float) -> bool:
    """Whether the expiry should be moved: often enough that it never ends under an active user."""
    # An update_age above the idle timeout would sign out somebody who is clicking all the time.
    pause = min(lifetime.update_age, lifetime.idle_timeout / 2)
    return now - session.touched_at >= pause and _expiry(session, lifetime, now) != (
        session.expires_at
    )


def touched(session: AnySession, lifetime: Lifetime, *, now: float) -> AnySession:
    """Return the session with its idle expiry counted from now."""
    return replace(session, touched_at=now, expires_at=_expiry(session, lifetime, now))


def with_roles(session: Session, roles: tuple[str, ...], session_id: SessionId) -> Session:
    """Return the session with other roles and another id; its token is to be renewed.

    Only with the same roles as before does the old token get a grace: one that was known before
    somebody gained a right must not be worth more for it, and one that lost a right is over.
    """
    same = set(roles) == set(session.user.roles) and session.renewal is not Renewal.AT_ONCE
    return replace(
        session,
        id=session_id,
        user=replace(session.user, roles=roles),
        renewal=Renewal.WITH_GRACE if same else Renewal.AT_ONCE,
    )


def same_rights(one: User, other: User) -> bool:
    """Whether two users have the same roles and permissions, in whatever order."""
    return set(one.roles) == set(other.roles) and set(one.permissions) == set(other.permissions)


def renewed(session: Session, key: SessionKey) -> Session:
    """Return the session under the key of its new token."""
    return replace(session, key=key, renewal=None, replaces=session.key)


def left_behind(session: Session, new: Session, *, now: float) -> Session | None:
    """Return what answers to the old token of a renewed session for a few seconds; None: nothing.

    It has the rights that the session had, and nothing lengthens its life.
    """
    if session.renewal is not Renewal.WITH_GRACE:
        return None
    end = min(now + GRACE, session.expires_at)
    return replace(session, renewal=None, replaced_by=new.key, expires_at=end, ends_at=end)


def is_over(session: Session, now: float) -> bool:
    """Whether the session has ended; at the second ``expires_at`` it has."""
    return not now < session.expires_at  # so that an expiry which is no number ends it


def encode(session: Session) -> bytes:
    """Return the record of a session: JSON."""
    return _encoder.encode(
        _Record(
            v=1,
            id=session.id,
            user=None if session.anonymous else session.user,
            created_at=session.created_at,
            ends_at=session.ends_at,
            data=dict(session.data),
            device=session.device,
            address=session.address,
            remembered=session.remembered,
            renewal=session.renewal,
            replaces=session.replaces,
            replaced_by=session.replaced_by,
        )
    )


def decode(key: SessionKey, payload: bytes, touched_at: float, expires_at: float) -> Session:
    """Return the session that a store keeps under this key.

    Raises:
        CorruptRecord: It is no record of ours, or one that a newer gateway wrote.
    """
    try:
        record = _decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise CorruptRecord("not a session record of version 1") from exc
    if not record.id or (record.user is not None and not record.user.id):
        raise CorruptRecord("a session record without an id, or with a user who has none")
    return Session(
        key=key,
        id=SessionId(record.id),
        user=ANONYMOUS if record.user is None else record.user,
        created_at=record.created_at,
        ends_at=record.ends_at,
        touched_at=touched_at,
        expires_at=min(expires_at, record.ends_at),
        data=record.data,
        device=record.device,
        address=record.address,
        remembered=record.remembered,
        renewal=record.renewal,
        replaces=record.replaces,
        replaced_by=record.replaced_by,
    )


class _Record(msgspec.Struct, kw_only=True, gc=False, omit_defaults=True):
    """What is kept of a session.

    Fields that came later may be missing, and ones that come later still are passed over, so that
    gateways of different age share a store. What an older one must not misread gets another ``v``.
    """

    v: Literal[1]
    id: str
    user: User | None
    """None: nobody has signed in."""
    created_at: float
    ends_at: float
    data: dict[str, Any] = {}
    device: str = ""
    address: str = ""
    remembered: bool = True
    renewal: Renewal | None = None
    replaces: SessionKey | None = None
    replaced_by: SessionKey | None = None


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(_Record)


def _expiry(session: Session, lifetime: Lifetime, now: float) -> float:
    return min(now + lifetime.idle_timeout, session.ends_at)
