"""What the gateway's own endpoints can find out about whoever asks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from gateway.model import Lifetime, SealedSession, Session, SessionKey
from gateway.rules import csrf
from gateway.rules.redirects import safe_return_to
from gateway.rules.sessions import due, is_over
from gateway.rules.set_cookie import set_cookie
from gateway.server.answers import PageRequest
from gateway.server.session_cookie import Headers, SessionCookies
from gateway.stores.begun import Begun, Visit


class Held(Protocol):
    """A session as a cache holds it."""

    @property
    def session(self) -> Session:
        """The session itself."""
        ...


class Sessions(Protocol):
    """Live sessions, from memory where possible."""

    async def get(self, key: SessionKey) -> Held | None:
        """Return the session under this key, if there is one."""
        ...

    def forget(self, key: SessionKey) -> None:
        """Ask the store the next time."""
        ...

    def touch_soon(self, session: Session) -> Held:
        """Move the session's expiry."""
        ...


class AcceptedVisitors(Protocol):
    """Sessions that other frameworks have issued."""

    async def session(self, cookies: Mapping[str, bytes]) -> Session | None:
        """Return the first that names somebody."""
        ...

    def cleared(self, sent: str) -> tuple[str, ...]:
        """Return the ``Set-Cookie`` values that take their cookies away."""
        ...


class Visitors:
    """Knows a visitor's session, and whether a form came from a page of ours."""

    def __init__(
        self,
        *,
        public_url: str,
        login_path: str,
        cookies: SessionCookies,
        secrets: tuple[str, ...],
        lifetime: Lifetime,
        sessions: Sessions,
        renew: Callable[[Session], Awaitable[Begun | None]],
        accepted: AcceptedVisitors | None = None,
        wall: Callable[[], float],
        random: Callable[[int], bytes],
    ) -> None:
        if not secrets:
            raise ValueError("forms cannot be protected without a secret")
        self._public_url = public_url
        self._login_path = login_path
        self._cookies = cookies
        self._csrf_cookie = csrf.cookie_shape(public_url)
        self._secrets = secrets
        self._lifetime = lifetime
        self._sessions = sessions
        self._renew = renew
        self._accepted = accepted
        self._wall = wall
        self._random = random

    def key(self, request: PageRequest) -> SessionKey | None:
        """Return the key of the session whose cookie was sent, if it could be one."""
        return self._cookies.key(request.cookies)

    def given(self, request: PageRequest, begun: Begun) -> Headers:
        """Return the header fields that give the visitor a session."""
        return self._cookies.given(begun, request.headers.get("Cookie", ""))

    def cleared(self, request: PageRequest) -> Headers:
        """Return the header fields that take it away; one that an app has given as well."""
        sent = request.headers.get("Cookie", "")
        headers = self._cookies.cleared(sent)
        if self._accepted is None:
            return headers
        return (*headers, *(("Set-Cookie", value) for value in self._accepted.cleared(sent)))

    def visit(self, request: PageRequest) -> Visit:
        """Return from where the visitor comes, for a session that is to remember it."""
        return Visit(device=request.headers.get("User-Agent", ""), address=request.client)

    async def session(self, request: PageRequest) -> Session | None:
        """Return the session of a visitor who is signed in; this counts as use of it."""
        key = self.key(request)
        held = None if key is None else await self._sessions.get(key)
        now = self._wall()
        if held is None or held.session.anonymous or is_over(held.session, now):
            return (
                None
                if self._accepted is None
                else await self._accepted.session(request.app_cookies)
            )
        if due(held.session, self._lifetime, now=now):
            held = self._sessions.touch_soon(held.session)
        return held.session

    async def kept(self, request: PageRequest) -> tuple[Session | None, Headers]:
        """Return the session as well, and header fields that keep it, where its cookie does."""
        session = await self.session(request)
        if not isinstance(session, SealedSession) or session.renewal is None:
            return session, ()
        begun = await self._renew(session)
        return (session, ()) if begun is None else (begun.session, self.given(request, begun))

    async def name(self, request: PageRequest) -> str:
        """Return what a visitor who is signed in is called; empty for anybody else."""
        session = await self.session(request)
        return "" if session is None else session.user.name or session.user.id

    def form_token(self, request: PageRequest) -> tuple[str, Headers]:
        """Return the token for a form, and the cookie to set with it where there is none yet."""
        token = csrf.token_of(request.cookies.get(self._csrf_cookie.name), self._secrets)
        if token is not None:
            return token, ()
        token, value = csrf.new(self._random(csrf.TOKEN_BYTES), self._secrets)
        return token, (("Set-Cookie", set_cookie(self._csrf_cookie, value, max_age=None)),)

    def form_is_ours(self, request: PageRequest, form: Mapping[str, str]) -> bool:
        """Whether the form carries the token that this browser was given."""
        cookie = request.cookies.get(self._csrf_cookie.name)
        return csrf.verify(cookie, form.get("csrfToken"), self._secrets)

    def origin_is_ours(self, request: PageRequest) -> bool:
        """Whether a browser that says from where a form comes names us.

        We are ``public_url``, and whatever host the form itself is sent to. ``null`` is what it
        says for pages that hide where they are; the token decides then.
        """
        origin = request.headers.get("Origin")
        if origin is None or origin == "null" or origin.lower() == self._public_url.lower():
            return True
        scheme = self._public_url.partition("://")[0]
        return origin.lower() == f"{scheme}://{request.headers.get('Host', '')}".lower()

    def return_to(self, value: str | None) -> str:
        """Return the path of ours to go to afterwards."""
        return safe_return_to(value, self._public_url, login_path=self._login_path)
