"""A session as people and programs are told of it: everything but what opens it."""

from __future__ import annotations

from typing import Any

from gateway.model import Session
from gateway.rules.identity import isoformat


def described(session: Session) -> dict[str, Any]:
    """Return what command line, account page and admin API say of a session, ready for JSON.

    A visitor's whom nobody knows has no ``user``. ``touched`` is when it was last seen, give or
    take ``session.update_age``.
    """
    user = session.user
    return {
        "id": session.id,
        "user": user.id or None,
        "provider": user.provider or None,
        "name": user.name,
        "email": user.email,
        "roles": user.roles,
        "permissions": user.permissions,
        "device": session.device or None,
        "address": session.address or None,
        "created": isoformat(session.created_at),
        "touched": isoformat(session.touched_at),
        "expires": isoformat(session.expires_at),
        "ends": isoformat(session.ends_at),
    }
