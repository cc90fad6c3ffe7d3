"""The cookie, or the cookies, by which a browser has its session."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Protocol

from gateway.formats import chunks
from gateway.model import CookieShape, SessionKey
from gateway.rules.set_cookie import clear_cookie, set_cookie
from gateway.stores.begun import Begun

Headers = tuple[tuple[str, str], ...]

_SECURE = "__Secure-"


class SessionCookies(Protocol):
    """Reads and writes them."""

    names: tuple[str, ...]
    """Every name that is ours."""

    def key(self, cookies: Mapping[str, str]) -> SessionKey | None:
        """Return the key of the session whose cookie was sent; None: none that could be one.

        Args:
            cookies: Those that were sent once.
        """
        ...

    def given(self, begun: Begun, sent: str) -> Headers:
        """Return the ``Set-Cookie`` fields that give a browser its session.

        It lasts as long as the session may, whatever its idle expiry is now; or as long as the
        browser runs.

        Args:
            sent: The value of ``Cookie`` in the request.
        """
        ...

    def cleared(self, sent: str) -> Headers:
        """Return the ``Set-Cookie`` fields that take it away."""
        ...


class TokenCookie:
    """One cookie, which holds a token.

    Args:
        key_of: Returns under what the store keeps the session of a token; None: it is none.
    """

    def __init__(self, shape: CookieShape, key_of: Callable[[str], SessionKey | None]) -> None:
        self._shape = shape
        self._key_of = key_of
        self.names: tuple[str, ...] = (shape.name,)

    def key(self, cookies: Mapping[str, str]) -> SessionKey | None:
        """Return under what the store keeps the session."""
        return self._key_of(cookies.get(self._shape.name, ""))

    def given(self, begun: Begun, sent: str) -> Headers:
        """Return the field that sets the token."""
        return (("Set-Cookie", set_cookie(self._shape, begun.token, max_age=_max_age(begun))),)

    def cleared(self, sent: str) -> Headers:
        """Return the field that removes it."""
        return (("Set-Cookie", clear_cookie(self._shape)),)


class SealedCookies:
    """One cookie or several, which hold the session itself.

    Args:
        presented: Returns the key of what cookies hold, by the cookie's name.
    """

    def __init__(
        self,
        shape: CookieShape,
        presented: Callable[[str, Mapping[str, str]], SessionKey | None],
    ) -> None:
        self._shape = shape
        self._presented = presented
        self._slots = chunks.slots(shape.name)
        self.names: tuple[str, ...] = self._slots
        if shape.piece is not None:
            # An app that was told another https than we were looks for the other name, and would
            # believe what nobody has checked.
            plain = shape.name.removeprefix(_SECURE)
            self.names = (*chunks.slots(plain), *chunks.slots(_SECURE + plain))

    def key(self, cookies: Mapping[str, str]) -> SessionKey | None:
        """Return the key of what they hold."""
        return self._presented(self._shape.name, cookies)

    def given(self, begun: Begun, sent: str) -> Headers:
        """Return the fields that set the session, and remove what is left of a longer one."""
        max_age = _max_age(begun)
        pieces = chunks.split(self._shape.name, begun.token, self._shape.piece)
        assert pieces is not None  # noqa: S101  the keeper has refused what does not fit
        values = [set_cookie(self._named(n), v, max_age=max_age) for n, v in pieces.items()]
        values += [
            clear_cookie(self._named(name))
            for name in self._slots
            if name not in pieces and f"{name}=" in sent
        ]
        return tuple(("Set-Cookie", value) for value in values)

    def cleared(self, sent: str) -> Headers:
        """Return the fields that remove all of it."""
        values = [
            clear_cookie(self._named(name))
            for name in self._slots
            if name == self._shape.name or f"{name}=" in sent
        ]
        return tuple(("Set-Cookie", value) for value in values)

    def _named(self, name: str) -> CookieShape:
        return replace(self._shape, name=name)


def lines(headers: Headers) -> tuple[bytes, ...]:
    """Return fields as lines of a head."""
    return tuple(f"{name}: {value}".encode("latin-1") for name, value in headers)


def pairs(headers: Headers) -> bytes:
    """Return what a browser sends that was given these cookies and keeps no others."""
    given = [value.partition(";")[0] for _, value in headers]
    return "; ".join(pair for pair in given if not pair.endswith("=")).encode("latin-1")


def _max_age(begun: Begun) -> float | None:
    session = begun.session
    return session.ends_at - session.touched_at if session.remembered else None
