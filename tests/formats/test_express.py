from __future__ import annotations

import json
import time
from base64 import b64encode
from hmac import digest
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.formats import express
from gateway.formats.foreign import Refused, Why
from gateway.formats.npm_cookies import Flavour
from tests.formats.foreign_vectors import Vector, cases, cookies, says

SECRET = "keyboard cat"
SID = "kJlZUpL6-Wd-mi-S-DLlykVqRgmb61t2"
BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


def signed(sid: str, secret: str = SECRET) -> str:
    """Sign an id, apart from the codec."""
    signature = b64encode(digest(secret.encode(), sid.encode(), "sha256")).decode()
    return f"s:{sid}.{signature.rstrip('=')}"


COOKIE = signed(SID)


def stored(vector: Vector, key: str) -> bytes:
    """Return what the store has under a key, as Redis would."""
    for entry in vector["store_entries"]:
        if entry["key"] == key:
            if entry["type"] != "redis-string":
                raise Refused(Why.BAD_ENTRY, "not a string")  # the store says so: WRONGTYPE
            value: str = entry["value"]
            return value.encode()
    raise Refused(Why.NO_ENTRY, "the store knows no such session")


def opened(vector: Vector) -> tuple[str, dict[str, Any]]:
    sent = cookies(vector, Flavour.UNQUOTING)
    sid = express.session_id(sent.get(vector["cookie_name"], ""), vector["secrets"])
    return sid, express.entry(stored(vector, vector["config"].get("key_prefix", "sess:") + sid))


def refusal(value: str, secrets: tuple[str, ...] = (SECRET,)) -> Why:
    with pytest.raises(Refused) as caught:
        express.session_id(value, secrets)
    return caught.value.why


# --- what the package made -----------------------------------------------------------------------


@pytest.mark.parametrize("vector", cases("express-session-redis"))
def test_every_vector(vector: Vector) -> None:
    if vector["kind"] == "invalid":
        with pytest.raises(Refused) as caught:
            opened(vector)
        assert says(caught.value.why, vector)
        return
    expected = vector["expected"]
    sid, entry = opened(vector)
    assert sid == expected["sid"]
    assert entry == {"cookie": expected["cookie"], **expected["session"]}
    age = vector["config"].get("cookie", {}).get("maxAge")
    assert express.idle(entry) == (None if age is None else age / 1000)


@pytest.mark.parametrize("vector", cases("express-session-redis", "quirks"))
def test_every_quirk_is_answered_as_recommended(vector: Vector) -> None:
    if vector["recommendation"] == "accept":
        opened(vector)
    elif vector["recommendation"] == "reject":
        with pytest.raises(Refused):
            opened(vector)
    elif not vector["real_accepts"]:
        with pytest.raises(Refused):  # either would do, but nothing opens here that does not there
            opened(vector)


# --- the cookie ----------------------------------------------------------------------------------


def test_any_of_the_secrets_may_have_signed() -> None:
    assert express.signed(COOKIE, ["new", SECRET, "old"]) == (SID, 1)
    assert refusal(COOKIE, ("new", "old")) is Why.BAD_SIGNATURE
    assert refusal(COOKIE, ()) is Why.BAD_SIGNATURE


@pytest.mark.parametrize("sid", ["a.b.c", "7", "a b;c", "é", "x" * 4000, "s:nested.id"])
def test_an_id_may_be_any_text(sid: str) -> None:
    assert express.session_id(signed(sid), [SECRET]) == sid


@pytest.mark.parametrize(
    ("value", "why"),
    [
        pytest.param("", Why.MISSING, id="nothing"),
        pytest.param(signed(""), Why.MISSING, id="no id, but signed"),
        pytest.param(SID, Why.BAD_PREFIX, id="a bare id"),
        pytest.param(COOKIE[2:], Why.BAD_PREFIX, id="signed, without s:"),
        pytest.param("s:" + SID, Why.BAD_SIGNATURE, id="without signature"),
        pytest.param(COOKIE + "=", Why.BAD_SIGNATURE, id="padded"),
        pytest.param(
            COOKIE.replace("+", "-").replace("/", "_") + "A", Why.BAD_SIGNATURE, id="more"
        ),
        pytest.param("s:" + SID + "." + "é" * 43, Why.BAD_SIGNATURE, id="no base64"),
        pytest.param("s:\ud800." + "A" * 43, Why.MALFORMED, id="half a surrogate pair"),
        pytest.param(signed("x" * 4052), Why.TOO_LARGE, id="longer than any cookie"),
        pytest.param("s:" + "." * 1_000_000, Why.TOO_LARGE, id="much longer"),
    ],
)
def test_what_is_no_signed_id(value: str, why: Why) -> None:
    begun = time.perf_counter()
    assert refusal(value) is why
    assert time.perf_counter() - begun < 0.05


def test_no_single_changed_character_opens() -> None:
    for at, character in enumerate(COOKIE):
        for other in set(BASE64 + "-_=.: ") - {character}:
            refusal(COOKIE[:at] + other + COOKIE[at + 1 :])
        refusal(COOKIE[:at])
        refusal(COOKIE[:at] + COOKIE[at + 1 :])
        refusal(COOKIE[:at] + "A" + COOKIE[at:])


def test_no_mixture_of_two_opens() -> None:
    other = signed("5EbAEsJVXx_8O7Ql7zcqTqj8N1iS0pvA")
    (one, one_made), (two, two_made) = (value[2:].split(".") for value in (COOKIE, other))
    for sid, made in ((one, two_made), (two, one_made), (one_made, one), (one + two, one_made)):
        refusal(f"s:{sid}.{made}")
    for cut in range(3, len(COOKIE) - 1):
        refusal(COOKIE[:cut] + other[cut:])
        refusal(other[:cut] + COOKIE[cut:])


@given(
    st.one_of(
        st.text(),
        st.lists(st.sampled_from([*COOKIE.split("."), "s:", ".", SID, "=", "é"])).map("".join),
        st.text().map(lambda sid: f"s:{sid}.{'A' * 43}"),
    )
)
def test_hostile_text_raises_only_the_documented_error(value: str) -> None:
    try:
        assert express.session_id(value, [SECRET]) == SID
    except Refused:
        return
    assert value == COOKIE


def test_a_refusal_holds_nothing_of_the_cookie_or_the_secret() -> None:
    with pytest.raises(Refused) as caught:
        express.session_id(COOKIE[:-1] + "x", [SECRET])
    assert SECRET not in str(caught.value)
    assert SID not in str(caught.value)


# --- the entry -----------------------------------------------------------------------------------


@given(
    st.one_of(
        st.binary(),
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.just("cookie"), inner),
        ).map(lambda value: json.dumps(value).encode()),
    )
)
def test_any_entry_is_a_session_or_refused(raw: bytes) -> None:
    try:
        entry = express.entry(raw)
    except Refused as refused:
        assert refused.why in (Why.BAD_ENTRY, Why.NO_ENTRY)  # noqa: PT017
    else:
        assert isinstance(entry["cookie"], dict)


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b'{"cookie":' * 200_000, id="nested without end"),
        pytest.param(b'{"cookie":{},"n":' + b"9" * 5000 + b"}", id="a number without end"),
        pytest.param(b'{"cookie":{},"n":1e999}', id="infinity"),
        pytest.param(b'{"cookie":{},"n":"' + b"x" * 1024 * 1024 + b'"}', id="too large"),
        pytest.param('{"cookie":{}}'.encode("utf-16"), id="another encoding"),
    ],
)
def test_an_entry_that_no_app_writes(raw: bytes) -> None:
    with pytest.raises(Refused) as caught:
        express.entry(raw)
    assert caught.value.why is Why.BAD_ENTRY


@pytest.mark.parametrize(
    ("age", "seconds"),
    [
        pytest.param("86400000", 86400, id="a day"),
        pytest.param("1500", 2, id="whole seconds, rounded up"),
        pytest.param("1499.5", 2, id="half a millisecond"),
        pytest.param("0", 0, id="over"),
        pytest.param("-1000", 0, id="long over"),
        pytest.param("1e300", express.LONGEST_LIFE, id="for ever"),
        pytest.param("null", None, id="as long as the store says"),
        pytest.param("true", None, id="no number"),
        pytest.param('"60000"', None, id="a text"),
    ],
)
def test_how_long_a_request_keeps_a_session(age: str, seconds: float | None) -> None:
    entry = express.entry(f'{{"cookie":{{"originalMaxAge":{age}}}}}'.encode())
    assert express.idle(entry) == seconds


def test_a_cookie_that_says_no_age_leaves_it_to_the_store() -> None:
    assert express.idle(express.entry(b'{"cookie":{}}')) is None
