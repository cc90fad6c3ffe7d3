"""Every answer with which the gateway says no: a page for people, problem+json for programs.

Both say what the asker can do about it and give the request's id, by which the operator finds the
rest in the log. Nothing of the inside is in them: no address, no exception, no rule.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from http import HTTPStatus

from gateway.errors import Reason
from gateway.server import pages
from gateway.server.answers import NO_STORE, Answer

PROBLEM = ("Content-Type", "application/problem+json")

_BY_STATUS: dict[int, tuple[str, str]] = {
    400: (
        "Request not understood",
        "The address or the request is malformed. Check the address and try again.",
    ),
    401: ("Sign in first", "This is only for people who are signed in."),
    403: ("No access", "You are not allowed to open this. Ask the operator if you should be."),
    404: ("Not found", "There is nothing at this address."),
    405: ("Method not allowed", "This address cannot be used in this way."),
    408: ("Too slow", "The request did not arrive in time. Try again."),
    417: ("Expectation not met", "The request asks for something that is not offered here."),
    413: ("Too large", "What was sent is larger than is accepted here."),
    414: ("Address too long", "The address is longer than is accepted here."),
    429: ("Too many attempts", "There were too many attempts. Wait a little and try again."),
    431: (
        "Request head too large",
        "The browser sent more than is accepted here. Deleting this site's cookies may help.",
    ),
    500: ("Something went wrong", "The fault is on our side. Try again in a moment."),
    501: ("Not supported", "The request uses a part of HTTP that is not supported here."),
    505: ("HTTP version not supported", "Only HTTP/1.0 and HTTP/1.1 are spoken here."),
    502: ("Application not available", "The application behind this address does not answer."),
    503: ("Not available now", "The service cannot answer right now. Try again in a moment."),
    504: ("Application too slow", "The application behind this address did not answer in time."),
}

_BY_REASON: dict[Reason, tuple[str, str]] = {
    Reason.CSRF: (
        "Form expired",
        "The form was too old or came from another site. Go back, reload the page and try again.",
    ),
    Reason.WRONG_ORIGIN: (
        "Wrong origin",
        "Pages of another site may not open this connection.",
    ),
    Reason.RATE_LIMITED: (
        "Too many requests",
        "Too many requests came in a short time. Wait a little and try again.",
    ),
    Reason.UPSTREAM_BUSY: (
        "Too busy",
        "The application behind this address has too much to do. Try again in a moment.",
    ),
    Reason.UPSTREAM_DOWN: (
        "Application not available",
        "The application behind this address is not well. Try again in a moment.",
    ),
    Reason.SESSION_CONTROL: (
        "Sign-in did not work",
        "The application behind this address answered in a way that cannot be used. "
        "The fault is on our side.",
    ),
    Reason.SIGN_IN_DENIED: ("No access", "You are not allowed to sign in here."),
    Reason.OVERLOADED: (
        "Too much at once",
        "More is asked of the service than it can answer now. Try again in a moment.",
    ),
    Reason.STORE_UNAVAILABLE: (
        "Your sign-in cannot be checked now",
        "The place where sign-ins are kept does not answer. Nobody was signed out: "
        "try again in a moment, there is no need to sign in again.",
    ),
    Reason.SESSION_TOO_LARGE: (
        "Sign-in did not work",
        "Too much is known of you to be kept in your browser. Tell the operator: the log says how "
        "much it is.",
    ),
    Reason.DRAINING: ("Restarting", "The service is restarting. Try again in a moment."),
    Reason.SIGN_IN_BUSY: (
        "Too many people are signing in",
        "Many people are signing in at once. Try again in a moment.",
    ),
}


def problem(
    status: int,
    title: str,
    detail: str,
    request_id: str,
    *,
    reason: Reason = Reason.PAGE,
    headers: Iterable[tuple[str, str]] = (),
    **extra: object,
) -> Answer:
    """Return a problem document; ``extra`` are further members of it.

    Source: RFC 9457.
    """
    members = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    if request_id:
        extra["request_id"] = request_id
    return Answer(
        status=status,
        headers=(
            PROBLEM,
            NO_STORE,
            ("X-Content-Type-Options", "nosniff"),
            *((pages.REQUEST_ID, value) for value in [request_id] if value),
            *headers,
        ),
        body=json.dumps(members | extra).encode(),
        reason=reason,
    )


def error_answer(
    status: int,
    reason: Reason,
    *,
    navigation: bool,
    request_id: str,
    headers: Iterable[tuple[str, str]] = (),
    login_url: str | None = None,
) -> Answer:
    """Return the answer for a request that ends here, as whoever asked can read it.

    Args:
        navigation: Whether a person waits for a page.
        headers: Further ones, such as ``Allow``, ``Retry-After`` or ``WWW-Authenticate``.
        login_url: Where to sign in, if that would help.
    """
    title, sentence = told(status, reason)
    if navigation:
        return pages.error(
            status=status,
            reason=reason,
            request_id=request_id,
            headers=headers,
            title=title,
            sentence=sentence,
            sign_in=login_url,
        )
    extra = {} if login_url is None else {"login_url": login_url}
    return problem(status, title, sentence, request_id, reason=reason, headers=headers, **extra)


def told(status: int, reason: Reason) -> tuple[str, str]:
    """Return the title and the sentence for a status; some reasons have words of their own."""
    if reason in _BY_REASON:
        return _BY_REASON[reason]
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    try:
        title = HTTPStatus(status).phrase
    except ValueError:
        title = "Error"
    return title, _BY_STATUS[400 if status < 500 else 500][1]
