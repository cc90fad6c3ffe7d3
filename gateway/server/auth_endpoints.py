"""The session endpoints under ``login.path``, in next-auth's layout, and ``{base_path}/health``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from gateway.config.config import LoginConfig
from gateway.errors import Reason
from gateway.model import CookieShape, Lifetime, Remember, SessionKey
from gateway.rules.identity import effective_roles, isoformat
from gateway.rules.roles import RoleTable
from gateway.server import pages
from gateway.server.answers import Answer, PageRequest
from gateway.server.forms import read_form, read_query
from gateway.server.problems import error_answer
from gateway.server.replies import reply
from gateway.server.sign_in import ANY_MESSAGE, MESSAGES, Authenticator, SignIn
from gateway.server.sign_out import SignOut
from gateway.server.visitors import Headers, Sessions, Visitors
from gateway.stores.keeper import Keeper

_Handler = Callable[[PageRequest], Awaitable[Answer]]

# As next-auth answers; every other code is 400.
_ERROR_STATUS: Mapping[str, int] = {"AccessDenied": 403, "MissingCSRF": 403, "Configuration": 500}


class AuthEndpoints:
    """Answers every request under ``login.path`` and ``base_path``."""

    def __init__(
        self,
        *,
        login: LoginConfig,
        base_path: str,
        public_url: str,
        cookie: CookieShape,
        secrets: tuple[str, ...],
        lifetime: Lifetime,
        remember: Remember,
        keeper: Keeper,
        sessions: Sessions,
        key_of: Callable[[str], SessionKey | None],
        roles: RoleTable,
        users: Mapping[str, Authenticator],
        wall: Callable[[], float],
        random: Callable[[int], bytes],
    ) -> None:
        """Join what the endpoints need.

        Args:
            key_of: Returns under what the store keeps the session of a cookie's value.
            secrets: At least one, and the same in every worker; the first signs, all verify.
            users: Who can sign in, by the id of the provider; every provider of ``login`` is there.
            wall: Unix seconds.
            random: That many bytes nobody can guess, such as ``os.urandom``.
        """
        self._login = login
        self._public_url = public_url
        self._roles = roles
        self._visitors = Visitors(
            public_url=public_url,
            login_path=login.path,
            cookie=cookie,
            secrets=secrets,
            lifetime=lifetime,
            sessions=sessions,
            key_of=key_of,
            wall=wall,
            random=random,
        )
        sign_in = SignIn(
            visitors=self._visitors,
            login=login,
            public_url=public_url,
            cookie=cookie,
            remember=remember,
            keeper=keeper,
            users=users,
        )
        sign_out = SignOut(
            visitors=self._visitors,
            login_path=login.path,
            public_url=public_url,
            cookie=cookie,
            keeper=keeper,
        )
        path = login.path
        self._handlers: dict[str, dict[str, _Handler]] = {
            f"{base_path}/health": {"GET": self._health},
            f"{path}/session": {"GET": self._session, "POST": self._update},
            f"{path}/csrf": {"GET": self._csrf},
            f"{path}/providers": {"GET": self._providers},
            f"{path}/signin": {"GET": sign_in.ask},
            f"{path}/signout": {"GET": sign_out.ask, "POST": sign_out.sign_out},
            f"{path}/error": {"GET": self._error},
        }
        for provider in login.providers:
            attempt = partial(sign_in.attempt, provider.id)
            self._handlers[f"{path}/signin/{provider.id}"] = {"GET": sign_in.ask, "POST": attempt}
            # Where next-auth's own client posts a user name and password.
            self._handlers[f"{path}/callback/{provider.id}"] = {"POST": attempt}
            if len(login.providers) == 1:
                self._handlers[f"{path}/signin"]["POST"] = attempt

    async def handle(self, request: PageRequest) -> Answer:
        """Answer one request.

        Raises:
            ClientError: A form that cannot be read.
            StoreError: The session store could not do its part.
        """
        methods = self._handlers.get(request.path.removesuffix("/"))
        if methods is None:
            return _refused(request, 404, Reason.PAGE)
        handler = methods.get("GET" if request.method == "HEAD" else request.method)
        if handler is None:
            allowed = ", ".join("GET, HEAD" if name == "GET" else name for name in methods)
            return _refused(request, 405, Reason.METHOD, (("Allow", allowed),))
        if request.method == "POST" and not self._visitors.origin_is_ours(request):
            return _refused(request, 403, Reason.CSRF)
        return await handler(request)

    async def _health(self, request: PageRequest) -> Answer:
        return reply(request.request_id, {"status": "ok"})

    async def _session(self, request: PageRequest) -> Answer:
        session = await self._visitors.session(request)
        if session is None:
            return reply(request.request_id, {})
        user, caller = session.user, self._roles.caller(session.user)
        described = {
            "id": user.id,
            "name": user.name,
            "email": user.email,
            "image": user.image,
            "roles": effective_roles(caller),
            "permissions": sorted(caller.permissions),
            "provider": user.provider,
        }
        expires = isoformat(session.expires_at)
        return reply(request.request_id, {"user": described, "expires": expires})

    async def _update(self, request: PageRequest) -> Answer:
        """Answer like ``GET session``: what is sent changes nothing where nothing asks for it."""
        if not self._visitors.form_is_ours(request, read_form(request, ignore="data")):
            return _refused(request, 403, Reason.CSRF)
        return await self._session(request)

    async def _csrf(self, request: PageRequest) -> Answer:
        token, headers = self._visitors.form_token(request)
        return reply(request.request_id, {"csrfToken": token}, headers=headers)

    async def _providers(self, request: PageRequest) -> Answer:
        base = self._public_url + self._login.path
        providers = {
            provider.id: {
                "id": provider.id,
                "name": provider.name,
                "type": "credentials",
                "signinUrl": f"{base}/signin/{provider.id}",
                "callbackUrl": f"{base}/callback/{provider.id}",
            }
            for provider in self._login.providers
        }
        return reply(request.request_id, providers)

    async def _error(self, request: PageRequest) -> Answer:
        code = read_query(request.query).get("error", "")
        return pages.error(
            status=_ERROR_STATUS.get(code, 400),
            reason=Reason.PAGE,
            request_id=request.request_id,
            title="Sign-in failed",
            sentence=MESSAGES.get(code, ANY_MESSAGE),
            sign_in=f"{self._login.path}/signin",
            show_status=False,
        )


def _refused(request: PageRequest, status: int, reason: Reason, headers: Headers = ()) -> Answer:
    return error_answer(
        status,
        reason,
        navigation=request.navigation,
        request_id=request.request_id,
        headers=headers,
    )
