"""``GET session`` and ``POST session``: what a browser is told of its session."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog

from gateway.errors import CallbackFailed, ClientError, Reason
from gateway.formats.plain_json import NotPlain, parse
from gateway.login.callbacks import Callbacks
from gateway.model import AcceptedSession, Session, User
from gateway.rules.identity import effective_roles, isoformat
from gateway.rules.roles import RoleTable
from gateway.server.answers import Answer, PageRequest
from gateway.server.forms import read_form
from gateway.server.problems import error_answer
from gateway.server.replies import reply
from gateway.server.visitors import Visitors
from gateway.stores.keeper import Keeper
from gateway.telemetry.records import fingerprint

log = structlog.get_logger(__name__)


class SessionView:
    """Tells who is signed in; lets the operator's callbacks change what is kept and told."""

    def __init__(
        self,
        *,
        visitors: Visitors,
        keeper: Keeper,
        roles: RoleTable,
        callbacks: Callbacks,
        null_for_nobody: bool,
    ) -> None:
        self._visitors = visitors
        # To next-auth 4's client an empty object is nobody; to that of Auth.js 5 it is somebody.
        self._nobody: dict[str, Any] | None = None if null_for_nobody else {}
        self._keeper = keeper
        self._roles = roles
        self._callbacks = callbacks

    async def show(self, request: PageRequest) -> Answer:
        """Answer ``GET session``."""
        return await self._show(request, trigger=None, new=None)

    async def update(self, request: PageRequest) -> Answer:
        """Answer ``POST session``: its ``data`` is for the callbacks, and nothing without them.

        Raises:
            ClientError: It cannot be read.
        """
        if not self._visitors.form_is_ours(request, read_form(request, ignore="data")):
            return error_answer(
                403, Reason.CSRF, navigation=request.navigation, request_id=request.request_id
            )
        return await self._show(request, trigger="update", new=_data(request))

    async def _show(self, request: PageRequest, *, trigger: str | None, new: object) -> Answer:
        session, headers = await self._visitors.kept(request)
        if session is None:
            return reply(request.request_id, self._nobody, headers=headers)
        shown: dict[str, Any] = {}

        async def to(now: Session) -> tuple[User, Mapping[str, Any]]:
            """Ask both before anything is written: if one fails, nothing has changed."""
            nonlocal shown
            user, data = await self._callbacks.keep(now.user, now.data, trigger=trigger, new=new)
            described = self._described(user, now.expires_at)
            shown = await self._callbacks.show(described, user, data, trigger=trigger, new=new)
            return user, data

        try:
            if isinstance(session, AcceptedSession):
                # What an app keeps is the app's to change: callbacks have a say in what is shown.
                described = self._described(session.user, session.told_end)
                shown = await self._callbacks.show(
                    described, session.user, {}, trigger=trigger, new=new
                )
                return reply(request.request_id, shown, headers=headers)
            if not self._callbacks.keeps:
                await to(session)
                return reply(request.request_id, shown, headers=headers)
            changed = await self._keeper.change(session, to)
        except CallbackFailed as error:
            return error_answer(
                error.status,
                error.reason,
                navigation=request.navigation,
                request_id=request.request_id,
                headers=headers,
            )
        if changed is None:  # it ended meanwhile
            return reply(request.request_id, self._nobody, headers=headers)
        if changed.begun is not None:
            headers = self._visitors.given(request, changed.begun)
            log.info(
                "session_updated",
                user=session.user.id,
                session=fingerprint(changed.session.id),
                request_id=request.request_id,
            )
        return reply(request.request_id, shown, headers=headers)

    def _described(self, user: User, expires_at: float) -> dict[str, Any]:
        caller = self._roles.caller(user)
        described = {
            "id": user.id,
            "name": user.name,
            "email": user.email,
            "image": user.image,
            "roles": effective_roles(caller),
            "permissions": sorted(caller.permissions),
            "provider": user.provider,
        }
        return {"user": described, "expires": isoformat(expires_at)}


def _data(request: PageRequest) -> object:
    """Return what a client sent to be kept; next-auth's sends JSON."""
    if not request.headers.get("Content-Type", "").lower().startswith("application/json"):
        return None
    try:
        return parse(request.body).get("data")
    except NotPlain as exc:
        raise ClientError(f"data: {exc}") from exc
