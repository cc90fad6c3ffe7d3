"""What an operator's callbacks are given, and what becomes of what they return.

Names and meaning are NextAuth's: the *token* is what a session keeps, the *session* what
``GET session`` shows of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from gateway.formats.plain_json import copied
from gateway.model import User
from gateway.rules.session_control import checked_user, fitting

_ADDRESS = re.compile(r"(?:https?://[^/\\]|/(?![/\\]))[!-\[\]-~]*|/")
"""A path of ours, or a whole address; no backslash, which browsers take for a slash."""

_OF_USER = {"name": "name", "email": "email", "picture": "image"}
_RESERVED = ("sub", *_OF_USER, "roles", "permissions")


def user_of(user: User) -> dict[str, Any]:
    """Return a user as callbacks see them."""
    return {
        "id": user.id,
        "name": user.name,
        "email": user.email,
        "image": user.image,
        "roles": list(user.roles),
        "permissions": list(user.permissions),
        "provider": user.provider,
    }


def account_of(user: User, kind: str) -> dict[str, Any]:
    """Return by what somebody has signed in."""
    return {"provider": user.provider, "type": kind, "providerAccountId": user.id}


def token_of(user: User, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a session keeps, as callbacks see it: nothing that they change is shared."""
    token = {"sub": user.id} | {name: getattr(user, ours) for name, ours in _OF_USER.items()}
    token |= {"roles": list(user.roles), "permissions": list(user.permissions)}
    kept = copied(data)
    return {name: value for name, value in kept.items() if name not in _RESERVED} | token


def kept_of(token: object, user: User, data: Mapping[str, Any]) -> tuple[User, Mapping[str, Any]]:
    """Return the user and the data that a returned token stands for.

    What it lacks is gone: a token without ``roles`` has none. Only who somebody is stays.

    Args:
        user: Whose session it is.
        data: What is kept so far.

    Raises:
        ValueError: It is no token, or somebody else's.
    """
    if not isinstance(token, Mapping):
        raise ValueError(f"expected the token, not {type(token).__name__}")
    said = copied(token)
    if said.get("sub", user.id) != user.id:
        raise ValueError("a token cannot become another user's")
    described = {ours: said.get(name) for name, ours in _OF_USER.items()}
    described |= {name: said.get(name, []) for name in ("roles", "permissions")}
    new = checked_user({"id": user.id, **described}, user.provider)
    # What upstreams keep under a name that means something else in a token stays as it is.
    kept = {name: value for name, value in data.items() if name in _RESERVED}
    kept |= {name: value for name, value in said.items() if name not in _RESERVED}
    return new, fitting(new, kept)


def shown_of(session: object) -> dict[str, Any]:
    """Return what is to be shown of a session.

    Raises:
        ValueError: It is no JSON object.
    """
    if not isinstance(session, Mapping):
        raise ValueError(f"expected the session, not {type(session).__name__}")
    shown: dict[str, Any] = copied(session)
    return shown


def answer_of(answer: object) -> bool | str:
    """Return what ``sign_in`` says: whether somebody may, or where they are sent instead.

    Raises:
        ValueError: It is neither, or no address.
    """
    if answer is None or isinstance(answer, bool):
        return answer is True
    if not isinstance(answer, str):
        raise ValueError(f"expected true, false or an address, not {type(answer).__name__}")
    if not _ADDRESS.fullmatch(answer):
        raise ValueError("expected an address that begins with /, http:// or https://")
    return answer
