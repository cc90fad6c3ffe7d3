"""Signing out: the page that asks, and the form that comes back."""

from __future__ import annotations

import structlog

from gateway.errors import Reason
from gateway.server import pages
from gateway.server.answers import Answer, PageRequest
from gateway.server.forms import read_form, read_query
from gateway.server.replies import redirect, reply, wants_json
from gateway.server.visitors import Visitors
from gateway.stores.keeper import Keeper

log = structlog.get_logger(__name__)


class SignOut:
    """Ends a session, where it is kept and in the browser."""

    def __init__(
        self,
        *,
        visitors: Visitors,
        login_path: str,
        public_url: str,
        keeper: Keeper,
    ) -> None:
        self._visitors = visitors
        self._login_path = login_path
        self._public_url = public_url
        self._keeper = keeper

    async def ask(self, request: PageRequest) -> Answer:
        """Ask whether to sign out; whoever is not signed in is told that it is done."""
        address = read_query(request.query).get("callbackUrl")
        name = await self._visitors.name(request)
        if not name:
            return pages.signed_out(
                request_id=request.request_id, sign_in=f"{self._login_path}/signin"
            )
        return self._page(request, address, name)

    async def sign_out(self, request: PageRequest) -> Answer:
        """End the session.

        Raises:
            StoreUnavailable: It could not be ended; the cookie stays, so that nobody leaves
                believing it was.
        """
        form = read_form(request)
        address = form.get("callbackUrl")
        as_json = wants_json(form.get("json"), request.headers.get("X-Auth-Return-Redirect"))
        if not self._visitors.form_is_ours(request, form):
            if as_json:
                url = f"{self._public_url}{self._login_path}/signout?csrf=true"
                return reply(request.request_id, {"url": url}, status=403, reason=Reason.CSRF)
            name = await self._visitors.name(request)
            return self._page(request, address, name, expired=True)
        key = self._visitors.key(request)
        if key is not None and await self._keeper.end(key):
            log.info("signed_out", request_id=request.request_id)
        headers = self._visitors.cleared(request)
        # Asking again is how the page that says "signed out" is reached: nobody is there any more.
        done = self._visitors.return_to(address) if address else f"{self._login_path}/signout"
        if as_json:
            return reply(request.request_id, {"url": self._public_url + done}, headers=headers)
        return redirect(request.request_id, 303, done, headers)

    def _page(
        self, request: PageRequest, address: str | None, name: str, *, expired: bool = False
    ) -> Answer:
        token, cookies = self._visitors.form_token(request)
        return pages.sign_out(
            request_id=request.request_id,
            headers=cookies,
            status=403 if expired else 200,
            reason=Reason.CSRF if expired else Reason.PAGE,
            action=f"{self._login_path}/signout",
            csrf_token=token,
            callback_url=self._visitors.return_to(address) if address else "",
            error="The form was too old. Please try again." if expired else "",
            signed_in_as=name,
        )
