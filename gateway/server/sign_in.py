"""Signing in: the page that asks, and the form that comes back."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Any, Protocol
from urllib.parse import urlencode, urlsplit

import structlog

from gateway.config.config import LoginConfig
from gateway.errors import (
    BadCredentials,
    CallbackFailed,
    IdentityError,
    Reason,
    SignInBusy,
    SignInDenied,
    TooManyAttempts,
)
from gateway.login.callbacks import Callbacks
from gateway.model import Remember, User
from gateway.rules.redirects import fill_return_to
from gateway.server import pages
from gateway.server.answers import Answer, PageRequest
from gateway.server.forms import read_form, read_query
from gateway.server.replies import redirect, reply, wants_json
from gateway.server.session_cookie import Headers
from gateway.server.visitors import Visitors
from gateway.stores.keeper import Keeper
from gateway.telemetry.records import fingerprint

MESSAGES: Mapping[str, str] = {
    "CredentialsSignin": "The user name or the password is wrong.",
    "MissingCSRF": "The form was too old. Please try again.",
    "SessionRequired": "Please sign in to open that page.",
    "AccessDenied": "You are not allowed to sign in here.",
    "TooManyAttempts": "There were too many failed attempts. Wait a little, then try again.",
    "SignInBusy": "Many people are signing in at once. Try again in a moment.",
    "Configuration": "The sign-in is not set up correctly.",
}
"""What next-auth's codes in ``?error=`` and ours mean. What came in is never shown itself."""

ANY_MESSAGE = "Signing in did not work. Please try again."

log = structlog.get_logger(__name__)


class Authenticator(Protocol):
    """Knows people by their password."""

    async def authenticate(self, user_id: str, password: str, client: str) -> User:
        """Return whose password this is, or raise an ``IdentityError``."""
        ...


class SignIn:
    """Asks for a name and a password, and begins a session for whoever knows both."""

    def __init__(
        self,
        *,
        visitors: Visitors,
        login: LoginConfig,
        public_url: str,
        remember: Remember,
        keeper: Keeper,
        users: Mapping[str, Authenticator],
        callbacks: Callbacks,
    ) -> None:
        self._visitors = visitors
        self._login = login
        self._public_url = public_url
        self._realm = urlsplit(public_url).netloc
        self._remember = remember
        self._keeper = keeper
        self._users = users
        self._callbacks = callbacks

    async def ask(self, request: PageRequest) -> Answer:
        """Show the page, or send to the operator's own."""
        query = read_query(request.query)
        return_to = self._visitors.return_to(query.get("callbackUrl"))
        if self._login.url is not None:
            address = fill_return_to(self._login.url, return_to, self._public_url)
            return redirect(request.request_id, 302, address)
        code = query.get("error")
        return self._page(
            request,
            return_to,
            error="" if code is None else MESSAGES.get(code, ANY_MESSAGE),
            signed_in_as=await self._visitors.name(request),
        )

    async def attempt(self, provider_id: str, request: PageRequest) -> Answer:
        """Take the form; whoever is signed in by it gets a session that nobody had before."""
        form = read_form(request)
        address = form.get("callbackUrl") or read_query(request.query).get("callbackUrl")
        return_to = self._visitors.return_to(address)
        as_json = wants_json(form.get("json"), request.headers.get("X-Auth-Return-Redirect"))
        username = form.get("username", "")
        try:
            if not self._visitors.form_is_ours(request, form):
                raise _FormExpired
            user = await self._users[provider_id].authenticate(
                username, form.get("password", ""), request.client
            )
            await self._callbacks.admit(user, "credentials")
            user, data = await self._callbacks.keep(user, {}, trigger="signIn")
        except IdentityError as error:
            # Never the name: people type their password there.
            log.warning("sign_in_refused", reason=error.reason, request_id=request.request_id)
            if isinstance(error, SignInDenied) and error.location is not None:
                return self._elsewhere(request, error.location, as_json=as_json)
            if as_json:
                return self._refusal(request, provider_id, error)
            return self._page(
                request,
                return_to,
                status=error.status,
                reason=error.reason,
                headers=self._headers(error),
                error=_message(error),
                tried=provider_id,
                username=username,
                remember="remember" in form,
            )
        headers = await self._begin(request, user, data, ticked="remember" in form)
        if as_json:
            url = self._public_url + return_to
            return reply(request.request_id, {"url": url}, headers=headers)
        return redirect(request.request_id, 303, return_to, headers)

    def _elsewhere(self, request: PageRequest, location: str, *, as_json: bool) -> Answer:
        """Send somebody where the operator wants them to go instead."""
        if as_json:
            url = f"{self._public_url}{location}" if location.startswith("/") else location
            return reply(request.request_id, {"url": url})
        return redirect(request.request_id, 303, location)

    async def _begin(
        self, request: PageRequest, user: User, data: Mapping[str, Any], *, ticked: bool
    ) -> Headers:
        begun = await self._keeper.begin(
            user,
            self._visitors.visit(request),
            presented=self._visitors.key(request),
            data=data,
            remembered=ticked
            if self._remember is Remember.ASK
            else self._remember is Remember.ALWAYS,
        )
        log.info(
            "signed_in",
            user=user.id,
            session=fingerprint(begun.session.id),
            request_id=request.request_id,
        )
        return self._visitors.given(request, begun)

    def _page(
        self,
        request: PageRequest,
        return_to: str,
        *,
        status: int = 200,
        reason: Reason = Reason.PAGE,
        headers: Headers = (),
        error: str = "",
        tried: str = "",
        username: str = "",
        remember: bool = False,
        signed_in_as: str = "",
    ) -> Answer:
        token, cookies = self._visitors.form_token(request)
        return pages.sign_in(
            status=status,
            reason=reason,
            request_id=request.request_id,
            headers=(*headers, *cookies),
            providers=[
                pages.Provider(
                    id=provider.id,
                    name=provider.name,
                    action=f"{self._login.path}/signin/{provider.id}",
                )
                for provider in self._login.providers
            ],
            csrf_token=token,
            callback_url=return_to,
            error=error,
            tried=tried,
            username=username,
            ask_to_remember=self._remember is Remember.ASK,
            remember=remember,
            signed_in_as=signed_in_as,
        )

    def _refusal(self, request: PageRequest, provider_id: str, error: IdentityError) -> Answer:
        # In next-auth's layout: its client reads the code from this address.
        base = self._public_url + self._login.path
        query = urlencode({"error": _code(error), "provider": provider_id})
        return reply(
            request.request_id,
            {"url": f"{base}/error?{query}"},
            status=error.status,
            reason=error.reason,
            headers=self._headers(error),
        )

    def _headers(self, error: IdentityError) -> Headers:
        match error:
            case TooManyAttempts(retry_after=seconds):
                return (("Retry-After", str(ceil(seconds))),)
            case SignInBusy():
                return (("Retry-After", "2"),)
            case BadCredentials():
                return (("WWW-Authenticate", f'Session realm="{self._realm}"'),)
            case _:
                return ()


class _FormExpired(IdentityError):
    status = 403
    reason = Reason.CSRF


def _code(error: IdentityError) -> str:
    match error:
        case TooManyAttempts():
            return "TooManyAttempts"
        case SignInBusy():
            return "SignInBusy"
        case _FormExpired():
            return "MissingCSRF"
        case SignInDenied():
            return "AccessDenied"
        case CallbackFailed():
            return "Configuration"
        case _:
            return "CredentialsSignin"


def _message(error: IdentityError) -> str:
    if isinstance(error, TooManyAttempts):
        seconds = ceil(error.retry_after)
        wait = f"{seconds} seconds" if seconds < 120 else f"{ceil(seconds / 60)} minutes"
        return f"There were too many failed attempts. Try again in {wait}."
    return MESSAGES[_code(error)]
