"""What a store knows against sessions that are kept in cookies: from when on they count.

A cookie cannot be taken back. So where there is a store, it holds a small record for each user: the
moments at which all their sessions were ended or got other roles. And it holds one in the place of
each session that was ended by itself. They lie among the sessions, as sessions of nobody.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256

import msgspec

from gateway.errors import CorruptRecord
from gateway.model import (
    ANONYMOUS,
    Renewal,
    SealedSession,
    Session,
    SessionId,
    SessionKey,
)

EVERY_PROVIDER = ""

# In the place of a client's address, which nobody else writes.
_RECORD = "not before"


class NotBefore(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is known about a user's sessions of one provider, or of every one."""

    ended_at: float = 0.0
    """Sessions that began no later are over."""
    spared: tuple[SessionKey, ...] = ()
    """Keys of those that are not, all the same."""
    roles: tuple[str, ...] = ()
    roles_at: float = 0.0
    """Sessions that began no later have these roles now; 0: each has its own."""


Marks = dict[str, NotBefore]
"""By the provider; ``EVERY_PROVIDER`` counts for all."""


def user_key(user_id: str) -> SessionKey:
    """Return where the record of a user is."""
    return SessionKey(sha256(b"sealed sessions of\x00" + user_id.encode()).hexdigest())


def user_record(
    key: SessionKey, record_id: SessionId, marks: Marks, *, now: float, ends_at: float
) -> Session:
    """Return the record of a user."""
    data = {"marks": msgspec.to_builtins(marks)}
    return _record(key, record_id, data, now=now, ends_at=ends_at)


def end_record(
    key: SessionKey,
    record_id: SessionId,
    *,
    now: float,
    ends_at: float,
    moved_to: SessionKey | None = None,
) -> Session:
    """Return what stands in the place of a session that has ended.

    Args:
        moved_to: Where it goes on, under another cookie.
    """
    data = {} if moved_to is None else {"moved_to": moved_to}
    return _record(key, record_id, data, now=now, ends_at=ends_at)


def is_record(session: Session) -> bool:
    """Whether what a store keeps is no session, but a record of this module."""
    return session.anonymous and session.address == _RECORD


def moved_to(record: Session) -> SessionKey | None:
    """Return where the session goes on in whose place this record stands; None: nowhere."""
    key = record.data.get("moved_to")
    return SessionKey(key) if isinstance(key, str) else None


def needed_until(record: Session, max_age: float) -> float:
    """Return how long a record may count: no session that it is about lives longer."""
    try:
        marks = marks_of(record)
    except CorruptRecord:  # not a user's
        return record.ends_at
    last = max((max(mark.ended_at, mark.roles_at) for mark in marks.values()), default=0.0)
    return min(last + max_age, record.ends_at) if last else 0.0


def marks_of(record: Session | None) -> Marks:
    """Return what a user's record says.

    Raises:
        CorruptRecord: It says nothing that we understand.
    """
    if record is None:
        return {}
    try:
        return msgspec.convert(record.data.get("marks"), Marks)
    except msgspec.ValidationError as exc:
        raise CorruptRecord("a record of a user's sessions that cannot be read") from exc


def moment(marks: Marks, now: float) -> float:
    """Return when something happens now: later than all that is known, by whatever clocks."""
    return max([now, *(_after(max(mark.ended_at, mark.roles_at)) for mark in marks.values())])


def since(marks: Marks, provider: str, now: float) -> float:
    """Return from when a session counts that begins now, by whatever clock the marks were made."""
    known = _known(marks, provider)
    return max(now, _after(max(mark.ended_at for mark in known)), _after(_roles(known).roles_at))


def judged(
    session: SealedSession, of_session: Session | None, of_user: Session | None
) -> SealedSession | None:
    """Return what a session is by what the store knows; None: it is over.

    Where nothing is known of it, it counts as it is: a store that has lost its content has
    forgotten what was revoked, but signs nobody out.

    Args:
        of_session: What the store has under the session's key.
        of_user: What it has under ``user_key``.
    """
    if of_session is not None and is_record(of_session):
        return None
    if session.anonymous:
        return session
    known = _known(marks_of(of_user), session.user.provider)
    if any(session.since <= mark.ended_at and session.key not in mark.spared for mark in known):
        return None
    mark = _roles(known)
    if session.since > mark.roles_at:
        return session
    same = set(mark.roles) == set(session.user.roles)
    return replace(
        session,
        id=next_id(session.id, mark.roles_at),
        user=replace(session.user, roles=mark.roles),
        since=_after(mark.roles_at),
        renewal=Renewal.WITH_GRACE if same else Renewal.AT_ONCE,
    )


def since_when_moved(
    session: SealedSession, of_session: Session | None, of_user: Session | None
) -> float | None:
    """Return from when a session counts that goes on under another key; None: it is over, or other
    than it was taken for.

    One that was spared when all others were ended has been so under its old key.
    """
    if judged(session, of_session, of_user) is not session:
        return None
    if session.anonymous:
        return session.since
    known = _known(marks_of(of_user), session.user.provider)
    return max(session.since, _after(max(mark.ended_at for mark in known)))


def next_id(session_id: SessionId, roles_at: float) -> SessionId:
    """Return the id of a session whose roles were changed: the same one in every process."""
    text = f"{session_id} {roles_at!r}"
    return SessionId(sha256(text.encode()).hexdigest()[: len(session_id)])


def _record(
    key: SessionKey, record_id: SessionId, data: Mapping[str, object], *, now: float, ends_at: float
) -> Session:
    return Session(
        key=key,
        id=record_id,
        user=ANONYMOUS,
        created_at=now,
        ends_at=ends_at,
        touched_at=ends_at,  # so that no touch of a session that was here can move its end
        expires_at=ends_at,
        data=data,
        address=_RECORD,
    )


def _known(marks: Marks, provider: str) -> list[NotBefore]:
    return [marks.get(name, _NOTHING) for name in (EVERY_PROVIDER, provider)]


def _roles(known: list[NotBefore]) -> NotBefore:
    return max(known, key=lambda mark: mark.roles_at)


def _after(moment: float) -> float:
    return math.nextafter(moment, math.inf)


_NOTHING = NotBefore()
