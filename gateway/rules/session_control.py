"""What an upstream says about the session of whoever it answers, in ``X-Session-*`` fields.

``X-Session-Create`` signs somebody in, ``X-Session-Update`` is a merge patch, ``X-Session-Destroy``
signs out. An answer has one of them at most. No message holds anything of what was said.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any

import msgspec

from gateway.errors import InvalidSessionControl
from gateway.formats.plain_json import NotPlain, parse
from gateway.model import User
from gateway.rules.headers import fold
from gateway.rules.merge_patch import merged
from gateway.rules.roles import is_plain_name

LONGEST_FIELD = 8 * 1024
"""Bytes that one of these fields may have."""
LARGEST_USER = 8 * 1024
"""Bytes of JSON: all of it goes to upstreams in header fields, with every request."""
LARGEST_SESSION = 64 * 1024
"""Bytes of JSON, user and data together."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_PATCHABLE = ("name", "email", "image", "roles", "permissions")


@dataclass(frozen=True, slots=True, kw_only=True)
class Create:
    """Sign this user in."""

    user: User
    data: Mapping[str, Any] = field(repr=False)
    remember: bool | None
    """Whether the cookie is to outlive the browser; None: as configured."""
    max_age: float | None
    """Seconds that the session lives at most; None: as configured."""


@dataclass(frozen=True, slots=True)
class Update:
    """Change the session in this way."""

    patch: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Destroy:
    """End the session."""


Command = Create | Update | Destroy


class _User(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    name: str | None = None
    email: str | None = None
    image: str | None = None
    roles: tuple[str, ...] = ()
    permissions: tuple[str, ...] = ()


class _Session(msgspec.Struct, forbid_unknown_fields=True):
    user: _User
    data: dict[str, Any] = {}
    remember: bool | None = None
    max_age: float | None = None
    expires: Annotated[datetime, msgspec.Meta(tz=True)] | None = None


class _Patched(msgspec.Struct, forbid_unknown_fields=True):
    user: _User
    data: dict[str, Any] = {}


def read(lines: Sequence[bytes], *, provider: str, max_age: float, now: float) -> Command:
    """Return what an upstream wants done.

    Args:
        lines: All such fields of an answer, as ``name: value``.
        provider: Of users whom this upstream signs in.
        max_age: The longest that a session may live.
        now: Unix seconds.

    Raises:
        InvalidSessionControl: It is not to be done, nor any part of it.
    """
    if len(lines) > 1:
        raise InvalidSessionControl("there is more than one X-Session field")
    raw_name, _, value = lines[0].partition(b":")
    name, value = fold(raw_name.decode("latin-1")), value.strip(b" \t")
    if name == "X_SESSION_DESTROY":
        if value != b"1":
            raise InvalidSessionControl("X-Session-Destroy: expected 1")
        return Destroy()
    header = "X-Session-Create" if name == "X_SESSION_CREATE" else "X-Session-Update"
    if len(value) > LONGEST_FIELD:
        raise InvalidSessionControl(f"{header}: more than {LONGEST_FIELD} bytes")
    try:
        said = parse(value)
        if name == "X_SESSION_CREATE":
            return _create(said, provider, max_age, now)
        return _update(said)
    except (NotPlain, _Fault) as exc:
        raise InvalidSessionControl(f"{header}: {exc}") from exc


def patched(user: User, data: Mapping[str, Any], update: Update) -> tuple[User, Mapping[str, Any]]:
    """Return what an update makes of a session's user and data.

    Raises:
        InvalidSessionControl: The result is no session.
    """
    patch = update.patch
    if not user.id and "user" in patch:
        raise InvalidSessionControl("X-Session-Update: nobody is signed in whose user could change")
    try:
        # Without `null`, which a patch takes for nothing; what it removes is as if never said.
        known = msgspec.to_builtins(_shown(user))
        described = {name: value for name, value in known.items() if value is not None}
        result = merged({"user": described, "data": data}, patch)
        if not user.id:
            return user, fitting(user, result.get("data", {}))
        new = _converted(result, _Patched)
        changed = _user(new.user, user.provider)
        return changed, fitting(changed, new.data)
    except _Fault as exc:
        raise InvalidSessionControl(f"X-Session-Update: {exc}") from exc


def fitting(user: User, data: Any) -> dict[str, Any]:
    """Return a session's data, if it is an object and not too large beside its user.

    Raises:
        ValueError: It is not.
    """
    if not isinstance(data, dict):
        raise _Fault("data: expected an object")
    of_user = len(msgspec.json.encode(user))
    if of_user > LARGEST_USER:
        raise _Fault(f"user: more than {LARGEST_USER} bytes")
    if of_user + len(msgspec.json.encode(data)) > LARGEST_SESSION:
        raise _Fault(f"the session: more than {LARGEST_SESSION} bytes")
    return data


def checked_user(described: Mapping[str, Any], provider: str) -> User:
    """Return the user that an upstream or an operator's function describes.

    Raises:
        ValueError: It is no user.
    """
    return _user(_converted(described, _User), provider)


def _create(said: Any, provider: str, longest: float, now: float) -> Create:
    session = _converted(said, _Session)
    max_age = session.max_age
    if max_age is not None and not 0 < max_age <= longest:
        raise _Fault(f"max_age: expected seconds above zero, at most {longest:g}")
    if session.expires is not None:
        if max_age is not None:
            raise _Fault("expected max_age or expires, not both")
        max_age = min(session.expires.timestamp() - now, longest)
        if max_age <= 0:
            raise _Fault("expires: expected a time that is still to come")
    user = _user(session.user, provider)
    return Create(
        user=user,
        data=fitting(user, session.data),
        remember=session.remember,
        max_age=max_age,
    )


def _update(said: Any) -> Update:
    if not isinstance(said, dict):
        raise _Fault("expected an object")
    if said.keys() - {"user", "data"}:
        raise _Fault("expected user and data, and nothing else")
    if "user" in said:
        user = said["user"]
        if not isinstance(user, dict) or user.keys() - set(_PATCHABLE):
            raise _Fault(f"user: expected an object with some of {', '.join(_PATCHABLE)}")
    return Update(said)


def _user(said: _User, provider: str) -> User:
    if not said.id or said.id != said.id.strip() or _CONTROL.search(said.id):
        raise _Fault("user.id: expected an id, without control character or space at its ends")
    for kind in ("roles", "permissions"):
        if not all(map(is_plain_name, getattr(said, kind))):
            raise _Fault(
                f"user.{kind}: expected names without comma, |, control character or space at"
                " their ends"
            )
    return User(
        id=said.id,
        provider=provider,
        name=said.name,
        email=said.email,
        image=said.image,
        roles=tuple(dict.fromkeys(said.roles)),
        permissions=tuple(dict.fromkeys(said.permissions)),
    )


def _shown(user: User) -> _User:
    return _User(user.id, user.name, user.email, user.image, user.roles, user.permissions)


def _converted(value: Any, kind: type[Any]) -> Any:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as exc:
        # It names types and places: never a value, but maybe a member that nobody expects.
        raise _Fault(str(exc)[:200]) from exc


class _Fault(ValueError):
    """What is wrong, for a message that says with what."""
