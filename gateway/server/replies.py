"""The two short answers of the gateway's own endpoints: some JSON, or another address."""

from __future__ import annotations

import json

from gateway.errors import Reason
from gateway.server.answers import JSON, NO_STORE, Answer
from gateway.server.pages import REQUEST_ID
from gateway.server.session_cookie import Headers


def reply(
    request_id: str,
    value: object,
    *,
    status: int = 200,
    reason: Reason = Reason.PAGE,
    headers: Headers = (),
) -> Answer:
    """Return a value as JSON."""
    return Answer(
        status=status,
        headers=(JSON, *_common(request_id), ("X-Content-Type-Options", "nosniff"), *headers),
        body=json.dumps(value).encode(),
        reason=reason,
    )


def redirect(request_id: str, status: int, location: str, headers: Headers = ()) -> Answer:
    """Send a browser on; 303 makes it come with GET, whatever it came with."""
    return Answer(status=status, headers=(("Location", location), *_common(request_id), *headers))


def _common(request_id: str) -> Headers:
    return (NO_STORE, (REQUEST_ID, request_id)) if request_id else (NO_STORE,)


def wants_json(form_json: str | None, return_redirect: str | None) -> bool:
    """Whether next-auth's client asks for the address instead of being sent there.

    Version 4 says ``json=true`` in the form, version 5 says so in a header.
    """
    return form_json == "true" or return_redirect == "1"
