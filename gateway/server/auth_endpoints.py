"""The session endpoints under ``login.path``, in next-auth's layout, and ``{base_path}/health``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from gateway.config.config import LoginConfig
from gateway.errors import Reason
from gateway.login.callbacks import Callbacks, Threads
from gateway.model import Lifetime, Remember
from gateway.rules.roles import RoleTable
from gateway.server import pages
from gateway.server.answers import Answer, PageRequest
from gateway.server.forms import read_query
from gateway.server.problems import error_answer
from gateway.server.replies import reply
from gateway.server.session_cookie import Headers, SessionCookies
from gateway.server.session_view import SessionView
from gateway.server.sign_in import ANY_MESSAGE, MESSAGES, Authenticator, SignIn
from gateway.server.sign_out import SignOut
from gateway.server.visitors import AcceptedVisitors, Sessions, Visitors
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
        cookies: SessionCookies,
        secrets: tuple[str, ...],
        lifetime: Lifetime,
        remember: Remember,
        keeper: Keeper,
        sessions: Sessions,
        roles: RoleTable,
        users: Mapping[str, Authenticator],
        callbacks: Callbacks | None = None,
        accepted: AcceptedVisitors | None = None,
        wall: Callable[[], float],
        random: Callable[[int], bytes],
        null_for_nobody: bool = False,
    ) -> None:
        """Join what the endpoints need.

        Args:
            secrets: At least one, and the same in every worker; the first signs, all verify.
            callbacks: The operator's own; None: there are none.
            accepted: Sessions that other frameworks have issued; None: none counts.
            users: Who can sign in, by the id of the provider; every provider of ``login`` is there.
            wall: Unix seconds.
            random: That many bytes nobody can guess, such as ``os.urandom``.
            null_for_nobody: Whether browsers have the client of Auth.js 5.
        """
        self._login = login
        self._public_url = public_url
        self._visitors = Visitors(
            public_url=public_url,
            login_path=login.path,
            cookies=cookies,
            secrets=secrets,
            lifetime=lifetime,
            sessions=sessions,
            renew=keeper.renew,
            accepted=accepted,
            wall=wall,
            random=random,
        )
        callbacks = callbacks or Callbacks(None, Threads())
        sign_in = SignIn(
            visitors=self._visitors,
            login=login,
            public_url=public_url,
            remember=remember,
            keeper=keeper,
            users=users,
            callbacks=callbacks,
        )
        view = SessionView(
            visitors=self._visitors,
            keeper=keeper,
            roles=roles,
            callbacks=callbacks,
            null_for_nobody=null_for_nobody,
        )
        sign_out = SignOut(
            visitors=self._visitors,
            login_path=login.path,
            public_url=public_url,
            keeper=keeper,
        )
        path = login.path
        self._handlers: dict[str, dict[str, _Handler]] = {
            f"{base_path}/health": {"GET": self._health},
            f"{path}/session": {"GET": view.show, "POST": view.update},
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
