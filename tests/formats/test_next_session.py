from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.formats import next_session
from gateway.formats.foreign import Refused, Why
from gateway.formats.npm_cookies import Flavour
from tests.formats.foreign_vectors import Vector, cases, cookies, says
from tests.formats.test_express import COOKIE, SECRET, SID, signed, stored

NOW = 1_795_200_000.0


def opened(vector: Vector) -> tuple[str, dict[str, Any]]:
    sent = cookies(vector, Flavour.UNQUOTING)
    sid = next_session.session_id(sent.get(vector["cookie_name"], ""), vector["secrets"])
    return sid, next_session.entry(
        stored(vector, vector["config"].get("key_prefix", "sess:") + sid)
    )


@pytest.mark.parametrize("vector", cases("next-session-redis"))
def test_every_vector(vector: Vector) -> None:
    if vector["kind"] == "invalid":
        with pytest.raises(Refused) as caught:
            opened(vector)
        assert says(caught.value.why, vector)
        return
    expected, config = vector["expected"], vector["config"]
    sid, entry = opened(vector)
    assert sid == expected["sid"]
    assert entry == {"cookie": expected["cookie"], **expected["session"]}
    assert next_session.idle(entry) == expected["cookie"].get("maxAge")
    touched = next_session.due(entry, vector["now"], config.get("touch_after", -1))
    assert touched == expected["real"]["touched"]


@pytest.mark.parametrize("vector", cases("next-session-redis", "quirks"))
def test_every_quirk_is_answered_as_recommended(vector: Vector) -> None:
    if vector["recommendation"] == "accept":
        opened(vector)
    elif vector["recommendation"] == "reject" or not vector["real_accepts"]:
        with pytest.raises(Refused):
            opened(vector)


# --- the cookie ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "secrets", "expected"),
    [
        pytest.param(SID, (), SID, id="not signed"),
        pytest.param("a b;é.*\0", (), "a b;é.*\0", id="any text"),
        pytest.param(COOKIE, (), COOKIE, id="signed, where nobody looks: an id that none has"),
        pytest.param("", (), Why.MISSING, id="nothing"),
        pytest.param("x" * 4097, (), Why.TOO_LARGE, id="longer than any cookie"),
        pytest.param("\ud800", (), Why.MALFORMED, id="half a surrogate pair"),
        pytest.param(COOKIE, (SECRET,), SID, id="signed"),
        pytest.param(COOKIE, ("new", SECRET), SID, id="signed with an older secret"),
        pytest.param(SID, (SECRET,), Why.BAD_PREFIX, id="not signed, where the app signs"),
        pytest.param("xx" + COOKIE[2:], (SECRET,), Why.BAD_PREFIX, id="two other characters first"),
        pytest.param(signed(SID, "other"), (SECRET,), Why.BAD_SIGNATURE, id="by another secret"),
        pytest.param(COOKIE[:-1], (SECRET,), Why.BAD_SIGNATURE, id="truncated"),
    ],
)
def test_the_id_in_a_cookie(value: str, secrets: tuple[str, ...], expected: str) -> None:
    if isinstance(expected, Why):
        with pytest.raises(Refused) as caught:
            next_session.session_id(value, secrets)
        assert caught.value.why is expected
    else:
        assert next_session.session_id(value, secrets) == expected


@given(st.text())
def test_where_the_app_signs_nothing_else_is_an_id(value: str) -> None:
    with pytest.raises(Refused):
        next_session.session_id(value, [SECRET])


@given(st.text())
def test_where_it_does_not_an_id_is_what_was_sent_and_no_other(value: str) -> None:
    try:
        assert next_session.session_id(value) == value
    except Refused:
        assert not value


# --- the entry -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["id", "commit", "destroy", "touch"])
def test_a_body_that_would_replace_what_a_session_has_itself_is_refused(name: str) -> None:
    with pytest.raises(Refused) as caught:
        next_session.entry(json.dumps({"cookie": {}, name: "x"}).encode())
    assert caught.value.why is Why.BAD_ENTRY


def body(cookie: dict[str, Any]) -> dict[str, Any]:
    return next_session.entry(json.dumps({"cookie": cookie}).encode())


# It was last moved at NOW, and has an hour from then.
HOUR = {"maxAge": 3600, "expires": "2026-11-20T19:40:00.000Z"}


@pytest.mark.parametrize(
    ("cookie", "after", "touch_after", "due"),
    [
        pytest.param(HOUR, 59.999, 60, False, id="too soon"),
        pytest.param(HOUR, 60.0, 60, True, id="to the millisecond"),
        pytest.param(HOUR, 0.0, 0, True, id="at every request"),
        pytest.param(HOUR, 7200.0, 60, True, id="past the end in the body, which goes stale"),
        pytest.param(HOUR, 3000.0, -1, False, id="never, which is the default"),
        pytest.param({}, 60.0, 60, False, id="no age, so nothing to move"),
        pytest.param({"maxAge": 3600, "expires": "soon"}, 60.0, 60, False, id="no date"),
        pytest.param({"maxAge": 3600, "expires": 1}, 60.0, 60, False, id="a number"),
        pytest.param({**HOUR, "maxAge": "3600"}, 60.0, 60, False, id="an age that is none"),
    ],
)
def test_when_the_app_would_touch(
    cookie: dict[str, Any], after: float, touch_after: float, *, due: bool
) -> None:
    assert next_session.due(body(cookie), NOW + after, touch_after) is due
