"""Deliberate errors, and the one vocabulary for why a request ended as it did.

Raised where something is wrong with the request, the store, the upstream or the configuration.
A refusal by policy is no error: it is a value (``model.Challenge``, ``model.Deny``).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Why a request ended as it did: in the request log, in metric labels and in the docs."""

    OK = "ok"
    """Allowed and answered by the upstream."""
    PAGE = "page"
    """Answered by one of the gateway's own pages or endpoints."""
    PREFLIGHT = "preflight"
    """A CORS pre-flight, answered by the gateway for the route that it asks about."""
    NOT_SIGNED_IN = "not_signed_in"
    """The route asks for a session, and there is none."""
    NO_ROUTE = "no_route"
    """No route owns the request, and ``defaults.access`` is ``deny``."""
    DENIED = "denied"
    """The owning route has ``access: deny``."""
    METHOD = "method"
    """A route owns the path, but none lists this method."""
    MISSING_ROLE = "missing_role"
    """A rule asks for a role that the caller does not have."""
    MISSING_PERMISSION = "missing_permission"
    """A rule asks for a permission that the caller does not have."""
    WRONG_USER = "wrong_user"
    """The route is for other users."""
    WRONG_NETWORK = "wrong_network"
    """The client's address is in none of the route's networks."""
    WRONG_ORIGIN = "wrong_origin"
    """A WebSocket upgrade with a session came from a page of another origin."""
    NO_WEBSOCKET = "no_websocket"
    """An upgrade on a route with ``websocket: false``."""
    BAD_REQUEST = "bad_request"
    """The request breaks RFC 9112 or RFC 9110."""
    AMBIGUOUS_PATH = "ambiguous_path"
    """Two parsers could read the path differently."""
    TOO_LARGE = "too_large"
    """A body beyond the limit."""
    HEAD_TOO_LARGE = "head_too_large"
    """A request line or header beyond the limit."""
    CLIENT_TIMEOUT = "client_timeout"
    """The client did not finish its request in time."""
    CLIENT_GONE = "client_gone"
    """The client left before the answer was complete."""
    SESSION_ENDED = "session_ended"
    """A WebSocket or an answer under way was broken off: its session had ended or lost a right, or
    a reload refuses what was allowed."""
    STORE_UNAVAILABLE = "store_unavailable"
    """The session store did not answer in time."""
    CORRUPT_RECORD = "corrupt_record"
    """The store holds something under this session's key that is not a session."""
    SESSION_TOO_LARGE = "session_too_large"
    """A session that is to be kept in cookies does not fit into them."""
    UPSTREAM_UNREACHABLE = "upstream_unreachable"
    """No connection to the upstream could be made."""
    UPSTREAM_PROTOCOL = "upstream_protocol"
    """The upstream answered what is not HTTP, or closed in the middle of an answer."""
    UPSTREAM_BUSY = "upstream_busy"
    """Every connection that the upstream may have is in use, and so is the queue for one."""
    UPSTREAM_DOWN = "upstream_down"
    """The health checks of every target fail."""
    UPSTREAM_TIMEOUT = "upstream_timeout"
    """The upstream did not connect, begin its answer, or go on with it in time."""
    SESSION_CONTROL = "session_control"
    """The upstream's answer was to change the session in a way that is not possible."""
    BAD_CREDENTIALS = "bad_credentials"
    """A sign-in with a wrong password, an unknown user or a disabled one."""
    RATE_LIMITED = "rate_limited"
    """More requests than the route's ``rate_limit`` allows."""
    SIGN_IN_DENIED = "sign_in_denied"
    """The operator's ``sign_in`` callback refused somebody."""
    CALLBACK_FAILED = "callback_failed"
    """A callback of the operator's raised an exception, took too long, or returned nonsense."""
    THROTTLED = "throttled"
    """Too many failed sign-ins."""
    SIGN_IN_BUSY = "sign_in_busy"
    """More sign-ins at once than passwords can be checked."""
    CSRF = "csrf"
    """A form without the token that its page was given."""
    OVERLOADED = "overloaded"
    """More requests at once than ``server.limits`` allows."""
    DRAINING = "draining"
    """The gateway is about to stop."""
    INTERNAL = "internal"
    """A bug of ours; the log has the traceback."""


class GatewayError(Exception):
    """The root of every deliberate error. Its message is for the operator only."""

    status: int = 500
    reason: Reason = Reason.INTERNAL


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing that is wrong with a configuration, and where. Lines and columns count from 1."""

    file: str
    line: int
    column: int
    path: str
    """Where in the tree: ``routes[1].upstream``; empty for a fault of the file as a whole."""
    message: str

    def __str__(self) -> str:
        """Return ``file:line:column: path: message``."""
        where = f"{self.path}: " if self.path else ""
        return f"{self.file}:{self.line}:{self.column}: {where}{self.message}"


class ConfigError(GatewayError):
    """A configuration that cannot be used; carries every problem, in the order of the file."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems))
        super().__init__("\n".join(map(str, self.problems)))


class ClientError(GatewayError):
    """The request itself is at fault; asking again in the same way gives the same answer."""

    status = 400
    reason = Reason.BAD_REQUEST


class AmbiguousPath(ClientError):
    """Two parsers could read the path differently."""

    reason = Reason.AMBIGUOUS_PATH


class MethodRefused(ClientError):
    """TRACE and CONNECT are nothing a gateway in front of an application should do."""

    status = 405
    reason = Reason.METHOD


class VersionRefused(ClientError):
    """Neither HTTP/1.0 nor HTTP/1.1."""

    status = 505


class CodingRefused(ClientError):
    """A transfer coding that we do not undo (RFC 9112 section 6.1)."""

    status = 501


class ExpectationFailed(ClientError):
    """``Expect`` with anything but ``100-continue``."""

    status = 417


class TooLarge(ClientError):
    """A body beyond the limit."""

    status = 413
    reason = Reason.TOO_LARGE


class HeadTooLarge(ClientError):
    """A request line (414) or header (431) beyond the limit."""

    status = 431
    reason = Reason.HEAD_TOO_LARGE


class ClientTimeout(ClientError):
    """The client did not finish its request in time."""

    status = 408
    reason = Reason.CLIENT_TIMEOUT


class IdentityError(GatewayError):
    """Nobody could be signed in."""

    status = 401


class BadCredentials(IdentityError):
    """No such user, a wrong password, or a disabled account: which one, nobody outside learns."""

    reason = Reason.BAD_CREDENTIALS


class SignInDenied(IdentityError):
    """The operator's own code says no to somebody who has proved who they are.

    ``location`` is where it sends them instead of the usual refusal; None: nowhere.
    """

    status = 403
    reason = Reason.SIGN_IN_DENIED

    def __init__(self, location: str | None = None) -> None:
        self.location = location
        super().__init__("the sign_in callback refused")


class CallbackFailed(IdentityError):
    """The operator's own code did not do its part; the log has the reason."""

    status = 500
    reason = Reason.CALLBACK_FAILED


class TooManyAttempts(IdentityError):
    """Failed sign-ins came too fast; ask again after ``retry_after`` seconds."""

    status = 429
    reason = Reason.THROTTLED

    def __init__(self, retry_after: float) -> None:
        self.retry_after = retry_after
        super().__init__("too many failed sign-ins")


class SignInBusy(IdentityError):
    """More sign-ins wait than passwords can be checked in decent time. Ask again in a moment."""

    status = 503
    reason = Reason.SIGN_IN_BUSY


class Overloaded(GatewayError):
    """More requests are being answered than the gateway may take on. Ask again in a moment."""

    status = 503
    reason = Reason.OVERLOADED


class SessionEnded(GatewayError):
    """What was allowed is allowed no longer. Nobody is told: an answer is under way already."""

    status = 401
    reason = Reason.SESSION_ENDED


class BadCookie(GatewayError):
    """What a cookie holds is no session. Never told to anybody: it is as if there were none."""

    status = 401
    reason = Reason.NOT_SIGNED_IN


class SessionTooLarge(GatewayError):
    """A session that is to be kept in cookies is longer than browsers and proxies take."""

    reason = Reason.SESSION_TOO_LARGE


class StoreError(GatewayError):
    """The session store could not do its part."""


class StoreUnavailable(StoreError):
    """The backend does not answer, or not in time. Try again later; nobody is signed out by it."""

    status = 503
    reason = Reason.STORE_UNAVAILABLE


class CorruptRecord(StoreError):
    """Under a session's key lies something that is no session of ours."""

    reason = Reason.CORRUPT_RECORD


class UpstreamError(GatewayError):
    """The upstream could not do its part."""

    status = 502


class UpstreamUnreachable(UpstreamError):
    """No connection could be made."""

    reason = Reason.UPSTREAM_UNREACHABLE


class UpstreamProtocol(UpstreamError):
    """What came back is not HTTP, or ended in the middle."""

    reason = Reason.UPSTREAM_PROTOCOL


class UpstreamBusy(UpstreamError):
    """Every connection is in use, and no more may wait for one, or not so long."""

    status = 503
    reason = Reason.UPSTREAM_BUSY

    def __init__(self, message: str, retry_after: float) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class UpstreamDown(UpstreamError):
    """The health checks of every target fail: nothing is sent to any."""

    status = 503
    reason = Reason.UPSTREAM_DOWN

    def __init__(self, message: str, retry_after: float) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class UpstreamTimeout(UpstreamError):
    """The upstream did not connect, begin its answer, or go on with it in time."""

    status = 504
    reason = Reason.UPSTREAM_TIMEOUT


class InvalidSessionControl(UpstreamError):
    """The upstream's answer says something of the session that is not valid. Nothing was done."""

    reason = Reason.SESSION_CONTROL
