"""The life of a session: birth, renewal, end, and the record of it that a store keeps.

The record leaves out ``touched_at`` and ``expires_at``. A store keeps them beside it, so that
moving the expiry rewrites nothing else and can never undo a change made meanwhile.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from gateway.errors import CorruptRecord
from gateway.model import Lifetime, Session, SessionId, SessionKey, User


def born(
    user: User, key: SessionKey, session_id: SessionId, lifetime: Lifetime, *, now: float
) -> Session:
    """Return the session that begins now."""
    ends_at = now + lifetime.max_age
    return Session(
        key=key,
        id=session_id,
        user=user,
        created_at=now,
        ends_at=ends_at,
        touched_at=now,
        expires_at=min(now + lifetime.idle_timeout, ends_at),
    )


def due(session: Session, lifetime: Lifetime, *, now: float) -> bool:
    """Whether the expiry should be moved: often enough that it never ends under an active user."""
    # An update_age above the idle timeout would sign out somebody who is clicking all the time.
    pause = min(lifetime.update_age, lifetime.idle_timeout / 2)
    return now - session.touched_at >= pause and _expiry(session, lifetime, now) != (
        session.expires_at
    )


def touched(session: Session, lifetime: Lifetime, *, now: float) -> Session:
    """Return the session with its idle expiry counted from now."""
    # By hand: dataclasses.replace takes three times as long.
    return Session(
        key=session.key,
        id=session.id,
        user=session.user,
        created_at=session.created_at,
        ends_at=session.ends_at,
        touched_at=now,
        expires_at=_expiry(session, lifetime, now),
    )


def is_over(session: Session, now: float) -> bool:
    """Whether the session has ended; at the second ``expires_at`` it has."""
    return not now < session.expires_at  # so that an expiry which is no number ends it


def encode(session: Session) -> bytes:
    """Return the record of a session: JSON, for the operator who looks into the store."""
    return _encoder.encode(
        _Record(
            id=session.id,
            user=session.user,
            created_at=session.created_at,
            ends_at=session.ends_at,
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
    if not record.id or not record.user.id:
        raise CorruptRecord("a session record without an id or without a user")
    return Session(
        key=key,
        id=SessionId(record.id),
        user=record.user,
        created_at=record.created_at,
        ends_at=record.ends_at,
        touched_at=touched_at,
        expires_at=min(expires_at, record.ends_at),
    )


class _Record(msgspec.Struct, kw_only=True, gc=False):
    """What is kept of a session. Its shape changes only together with ``v``."""

    v: Literal[1] = 1
    id: str
    user: User
    created_at: float
    ends_at: float


class _Stored(_Record, kw_only=True):
    """The same when read: a record must say its version."""

    v: Literal[1]


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(_Stored)


def _expiry(session: Session, lifetime: Lifetime, now: float) -> float:
    return min(now + lifetime.idle_timeout, session.ends_at)
