"""The gateway's own pages: small, self-contained, and of use without JavaScript.

Each is one HTML document with one inline style and nothing else, so that its policy can forbid
everything else. An operator's templates may replace them: one set for the whole process, which
``prepare`` reads. Jinja is imported when the first page is made, or by ``prepare``.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from gateway.config.page_templates import OURS, environment, templates_of
from gateway.errors import Reason
from gateway.server.answers import HTML, NO_STORE, Answer

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

Headers = Iterable[tuple[str, str]]

REQUEST_ID = "X-Request-Id"

_POLICY_END = "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
_WIDER_POLICY = (
    "default-src 'none'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    f"font-src 'self'; {_POLICY_END}"
)
"""For an operator's templates: a style, a logo, a font; no script, for it could read passwords."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """A way to sign in, as the page offers it."""

    id: str
    name: str
    action: str
    """Where its form goes."""


def sign_in(
    *,
    status: int = 200,
    reason: Reason = Reason.PAGE,
    request_id: str,
    headers: Headers = (),
    providers: Sequence[Provider],
    csrf_token: str,
    callback_url: str,
    error: str = "",
    tried: str = "",
    username: str = "",
    ask_to_remember: bool = False,
    remember: bool = False,
    signed_in_as: str = "",
) -> Answer:
    """Return the sign-in page.

    Args:
        error: What went wrong, in plain language.
        tried: The id of the provider whose form was sent before.
        username: What was typed there.
        ask_to_remember: Whether there is a box to tick for a cookie that outlives the browser.
        remember: Whether it was ticked before.
        signed_in_as: Who already is.
    """
    return _page(
        "sign_in.html",
        status,
        reason,
        request_id,
        headers,
        providers=providers,
        csrf_token=csrf_token,
        callback_url=callback_url,
        error=error,
        tried=tried,
        username=username,
        ask_to_remember=ask_to_remember,
        remember=remember,
        signed_in_as=signed_in_as,
    )


def sign_out(
    *,
    request_id: str,
    headers: Headers = (),
    status: int = 200,
    reason: Reason = Reason.PAGE,
    action: str,
    csrf_token: str,
    callback_url: str,
    error: str = "",
    signed_in_as: str = "",
) -> Answer:
    """Return the page that asks whether to sign out."""
    return _page(
        "sign_out.html",
        status,
        reason,
        request_id,
        headers,
        action=action,
        csrf_token=csrf_token,
        callback_url=callback_url,
        error=error,
        signed_in_as=signed_in_as,
    )


def signed_out(*, request_id: str, headers: Headers = (), sign_in: str) -> Answer:
    """Return the page that says that it is done; ``sign_in`` is where to sign in again."""
    return _page("signed_out.html", 200, Reason.PAGE, request_id, headers, sign_in=sign_in)


def error(
    *,
    status: int,
    reason: Reason,
    request_id: str,
    headers: Headers = (),
    title: str,
    sentence: str,
    sign_in: str | None = None,
    show_status: bool = True,
) -> Answer:
    """Return a page that says what went wrong; with ``sign_in`` it offers to sign in there."""
    return _page(
        "error.html",
        status,
        reason,
        request_id,
        headers,
        title=title,
        sentence=sentence,
        sign_in=sign_in,
        # Not `status`: that name is the answer's own.
        shown=status if show_status else None,
    )


def prepare(folder: Path | None = None) -> None:
    """Read templates and style now, which takes 70 ms, rather than for the first visitor.

    Args:
        folder: Where an operator's own templates are; they are in use from now on.
    """
    _Current.look = _look(folder)


@dataclass(frozen=True, slots=True)
class _Look:
    """What pages are made with."""

    environment: Environment
    style: Markup
    policy: str


class _Current:
    """What all pages of this process are made with; None: not yet known."""

    look: _Look | None = None


def _page(
    template: str,
    status: int,
    reason: Reason,
    request_id: str,
    headers: Headers,
    **values: object,
) -> Answer:
    if _Current.look is None:
        prepare()
    look = _Current.look or _look(None)
    try:
        text = _text(look, template, request_id, values)
    except Exception as error:  # an operator's template; whoever waits gets ours
        log.error("template failed", template=template, detail=f"{type(error).__name__}: {error}")
        look = _look(None)
        text = _text(look, template, request_id, values)
    return Answer(
        status=status,
        headers=(
            HTML,
            NO_STORE,
            ("Content-Security-Policy", look.policy),
            ("X-Content-Type-Options", "nosniff"),
            # The address of a page may carry a return address: no other site's business.
            ("Referrer-Policy", "same-origin"),
            *((REQUEST_ID, value) for value in [request_id] if value),
            *headers,
        ),
        body=text.encode(),
        reason=reason,
    )


def _text(look: _Look, template: str, request_id: str, values: dict[str, object]) -> str:
    page = look.environment.get_template(template)
    return page.render(style=look.style, request_id=request_id, **values)


def _look(folder: Path | None) -> _Look:
    from markupsafe import Markup

    own_style = None if folder is None else folder / "style.css"
    file = own_style if own_style is not None and own_style.is_file() else OURS / "style.css"
    style = Markup(file.read_text(encoding="utf-8"))  # noqa: S704 - the operator's own, or ours
    own_pages = folder is not None and bool(templates_of(folder))
    return _Look(environment(folder), style, _WIDER_POLICY if own_pages else _policy(style))


def _policy(style: str) -> str:
    digest = b64encode(sha256(style.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; {_POLICY_END}"
