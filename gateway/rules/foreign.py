"""Who somebody is by the session of another framework, and what that session may say of them.

A session is what the framework keeps in it: claims, or whatever the app has put there. Paths say
where in it the user is. Nothing in it is believed to be of the right type.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.model import ANONYMOUS, User
from gateway.rules.roles import is_plain_name

LONGEST_ID = 256
"""Characters of an id, without prefix; a longer one is nobody's."""

_LONGEST_VALUE = 2048
"""Characters of a name, address or picture; a longer one is left out: it goes into a header."""
_MOST_NAMES = 1000
"""Roles that are read of a session, and permissions."""
_LONGEST_NAME = 256
_EXACT = 2**53
"""Beyond it, numbers of JSON are not what was written."""
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_ROOT = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Paths:
    """Where in a payload somebody is described; empty: where the framework has it."""

    user: tuple[str, ...]
    """Tried in order, until one of them names somebody. The empty one is the whole payload."""
    id_keys: tuple[str, ...] = ("id", "sub")
    """What an id may be called there."""
    roles: tuple[str, ...] = ("roles", "user.roles")
    """The first that is there counts."""
    roles_beside: bool = True
    """Whether, after all these, ``roles`` beside the id count."""
    permissions: tuple[str, ...] = ()


CLAIMS = Paths(user=(_ROOT,), id_keys=("sub",))
"""Where JWTs of NextAuth and Auth.js have it."""
OBJECT = Paths(user=("user", "passport.user"))
"""Where apps have it that keep an object of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """What a source may say."""

    provider: str
    """Its name."""
    id_prefix: str = ""
    """Put in front of its ids, so that nobody else's can be the same."""
    reserved: tuple[str, ...] = ()
    """Prefixes of others: no id may begin with one."""
    allowed_roles: frozenset[str] | None = None
    """Roles that count from there; None: all."""


@dataclass(frozen=True, slots=True)
class Read:
    """What a payload says."""

    user: User
    """``ANONYMOUS`` where it names nobody."""
    dropped: tuple[str, ...] = ()
    """What it says and may not, for the log."""


def read_user(payload: object, paths: Paths, trust: Trust) -> Read:
    """Return the user that a payload names, with the rights that its source may give.

    Every payload has an answer: what makes no sense is left out.
    """
    dropped: list[str] = []
    found = next(_users(payload, paths), None)
    if found is None:
        return Read(ANONYMOUS)
    user_id, described = found
    if user_id.startswith(trust.reserved):
        return Read(ANONYMOUS, (f"id {user_id}",))
    allowed = trust.allowed_roles
    beside = described.get("roles") if paths.roles_beside else None
    roles = []
    for role in _names(_first(payload, paths.roles, beside), dropped):
        if allowed is None or role in allowed:
            roles.append(role)
        else:
            dropped.append(role)
    permissions = _names(_first(payload, paths.permissions), dropped)
    user = User(
        id=trust.id_prefix + user_id,
        provider=trust.provider,
        name=_text(described.get("name")),
        email=_text(described.get("email")),
        image=_text(described.get("image")) or _text(described.get("picture")),
        roles=tuple(roles),
        permissions=tuple(permissions),
    )
    return Read(user, tuple(dropped))


def at(payload: object, path: str) -> Any:
    """Return what a payload has at a path of keys, joined by dots; None: nothing.

    A key that holds dots itself is found as well: where all that is left of the path is a key, it
    is that one.
    """
    if not path:
        return payload
    if not isinstance(payload, Mapping):
        return None
    if path in payload:
        return payload[path]
    key, dot, rest = path.partition(".")
    return at(payload.get(key), rest) if dot else None


def _users(payload: object, paths: Paths) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for path in paths.user:
        found = at(payload, path)
        if isinstance(found, Mapping):
            user_id = None
            for key in (*paths.id_keys, "email"):
                user_id = _id(found.get(key))
                if user_id is not None:
                    break
        else:
            user_id, found = _id(found), {}
        if user_id is not None:
            yield user_id, found


def _id(value: object) -> str | None:
    """Return an id as text; None: this is none. Zero is one, true is not."""
    if isinstance(value, bool):
        return None
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        value = int(value)  # what JavaScript prints of it
    if isinstance(value, int):
        return str(value) if abs(value) < _EXACT else None
    if not isinstance(value, str) or not value.strip() or len(value) > LONGEST_ID:
        return None
    # Two of them would become the same one in a header.
    return None if _SURROGATE.search(value) else value


def _text(value: object) -> str | None:
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_VALUE:
        return None
    return _SURROGATE.sub("\ufffd", value)


def _first(payload: object, paths: tuple[str, ...], otherwise: object = None) -> object:
    for path in paths:
        found = at(payload, path)
        if found is not None:
            return found
    return otherwise


def _names(value: object, dropped: list[str]) -> list[str]:
    """Return the names in a list, or the one that stands by itself."""
    if value is None:
        return []
    if not isinstance(value, list):
        value = [value]
    names: dict[str, None] = {}
    for name in value[:_MOST_NAMES]:
        if not isinstance(name, str):
            dropped.append(f"a value of type {type(name).__name__}")
        elif not name or len(name) > _LONGEST_NAME or not is_plain_name(name):
            dropped.append(name[:_LONGEST_NAME])
        elif _SURROGATE.search(name):
            dropped.append(_SURROGATE.sub("\ufffd", name))
        else:
            names[name] = None
    if len(value) > _MOST_NAMES:
        dropped.append(f"{len(value) - _MOST_NAMES} more")
    return list(names)
