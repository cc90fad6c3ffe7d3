"""next-auth 4 and Auth.js 5: what their packages made, and the rules that both codecs share."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import permutations
from types import ModuleType
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from gateway.formats import authjs, jwe, nextauth
from gateway.formats.base64url import encode
from gateway.formats.foreign import Opened, Refused, Why
from gateway.formats.jwt_claims import TOLERANCE
from gateway.rules.identity import isoformat
from tests.formats.foreign_vectors import Vector, cases, cookies, load

NOW = 1_795_200_000.0
SECRET, OLDER, OTHER = "a secret of thirty-two characters", "an older one of the same app", "x" * 32
NAME = "app.session-token"
ADA = {"sub": "1", "name": "Ada Ł. 😀", "email": "ada@example.com", "roles": ["admin", None, 1.5]}
BASE64URL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


# Two modules with the same functions; what a module has, mypy does not know.
Codec = ModuleType

FORMATS: dict[str, Codec] = {"next-auth-v4-jwt": nextauth, "authjs-v5-jwt": authjs}
BOTH = pytest.mark.parametrize(
    "codec", [pytest.param(codec, id=name) for name, codec in FORMATS.items()]
)


def sealed(
    codec: Codec,
    claims: Mapping[str, Any] = ADA,
    *,
    secrets: Sequence[str] = (SECRET,),
    name: str = NAME,
    number: int = 0,
) -> str:
    iv = number.to_bytes(codec.IV_BYTES, "big")
    keys = codec.Keys(secrets, name)
    return str(codec.seal(claims, keys, now=NOW, max_age=60, jti="once", iv=iv))


def minted(codec: Codec, plaintext: bytes, header: Mapping[str, Any] | None = None) -> str:
    """Seal anything whatever, apart from what the codec would write."""
    iv = bytes(codec.IV_BYTES)
    if codec is nextauth:
        cipher = codec.Keys([SECRET], NAME).ciphers[0]
        text = encode(json.dumps(header or {"alg": "dir", "enc": "A256GCM"}).encode())
        return jwe.seal_gcm(text, cipher, iv, plaintext)
    keys = codec.Keys([SECRET], NAME)
    text = keys.header if header is None else encode(json.dumps(header).encode())
    return jwe.seal_cbc_hs512(text, keys.keys[0], iv, plaintext)


def opened(codec: Codec, value: str, *, now: float = NOW, secrets: Sequence[str] = (SECRET,),
           name: str = NAME) -> Opened:  # fmt: skip
    found = codec.open(value, codec.Keys(secrets, name), now)
    assert isinstance(found, Opened)
    return found


def refusal(codec: Codec, value: str, *, now: float = NOW, secrets: Sequence[str] = (SECRET,),
            name: str = NAME) -> Why:  # fmt: skip
    with pytest.raises(Refused) as caught:
        opened(codec, value, now=now, secrets=secrets, name=name)
    return caught.value.why


# --- what the packages made ----------------------------------------------------------------------


def received(codec: Codec, vector: Vector) -> Opened:
    value = codec.pieces(cookies(vector, codec.FLAVOUR), vector["cookie_name"])
    if value is None:
        raise Refused(Why.MISSING, "there is no such cookie")
    return opened(
        codec, value, now=vector["now"], secrets=vector["secrets"], name=vector["cookie_name"]
    )


# Where the vectors say what was done to a cookie, the codec can only say what it sees.
SEEN_AS: Mapping[str, frozenset[Why]] = {
    # Without the name of a key, another key and another tag are the same.
    "bad_tag": frozenset({Why.BAD_TAG, Why.BAD_KEY}),
    "bad_alg": frozenset({Why.BAD_ALG, Why.MALFORMED}),
    # Pieces in each other's place are a whole one that was never issued.
    "bad_chunks": frozenset({Why.BAD_CHUNKS, Why.MALFORMED, Why.BAD_TAG, Why.BAD_KEY}),
    "malformed": frozenset(
        {Why.MALFORMED, Why.BAD_TAG, Why.BAD_ALG, Why.WRONG_KIND, Why.TOO_LARGE}
    ),
    # A bomb is not inflated so as to see that it is one.
    "too_large": frozenset({Why.TOO_LARGE, Why.BAD_ALG}),
    # A token of next-auth 4 is, for Auth.js 5, one under a key that it has not.
    "wrong_kind": frozenset({Why.WRONG_KIND, Why.BAD_KEY}),
}

ALL = [
    pytest.param(codec, *case.values, id=str(case.id))
    for name, codec in FORMATS.items()
    for case in cases(name)
]


@pytest.mark.parametrize(("codec", "vector"), ALL)
def test_every_vector(codec: Codec, vector: Vector) -> None:
    if vector["kind"] == "valid":
        found = received(codec, vector)
        assert found.claims == vector["expected"]["claims"]
        assert found.expires_at is not None
        assert vector["now"] < found.expires_at <= vector["expires"] + 1 + TOLERANCE
    else:
        with pytest.raises(Refused) as caught:
            received(codec, vector)
        category = vector["expected_error"]["category"]
        assert caught.value.why in SEEN_AS.get(category, {Why(category)})


QUIRKS = [
    pytest.param(codec, *case.values, id=str(case.id))
    for name, codec in FORMATS.items()
    for case in cases(name, "quirks")
]

# Where the recommendation leaves it open: what cannot be misread opens.
DECIDED = {
    "duplicate claim names (JSON.parse keeps the last)": True,
    "duplicate claim names": True,
    "exp as float 4102444800.5 and 1e300": True,
    "exp 1e300": True,
    "integer claim beyond 2^53 (loses precision in the real package)": True,
    "non-URL-safe base64 alphabet in the ciphertext (+ and /), percent-encoded": False,
    "base64 padding on the tag": False,
    'base64 padding on the tag ("=")': False,
    "non-canonical trailing bits in the tag": False,
    "two cookies of the same name: valid first, garbage second": False,
    "two cookies of the same name: garbage first, valid second": False,
    "two cookies of the same name: valid first": False,
    "two cookies of the same name: garbage first": False,
    "chunk suffixes with a gap (.0 .5 .9)": False,
    "invalid UTF-8 in a claim (replaced by U+FFFD)": False,
    "UTF-8 BOM before the JSON": False,
}


@pytest.mark.parametrize(("codec", "vector"), QUIRKS)
def test_every_quirk_is_answered_as_recommended(codec: Codec, vector: Vector) -> None:
    recommended = vector["recommendation"]
    opens = DECIDED[vector["title"]] if recommended == "either" else recommended == "accept"
    if not opens:
        with pytest.raises(Refused):
            received(codec, vector)
        return
    found = received(codec, vector).claims
    if vector["expected"] is not None and "surrogate" not in vector["title"]:
        # Python keeps every digit of a long integer; a double does not.
        assert json.loads(json.dumps(found), parse_int=float) == json.loads(
            json.dumps(vector["expected"]["claims"]), parse_int=float
        )


@BOTH
def test_half_a_surrogate_pair_in_a_claim_becomes_what_utf8_can_say(codec: Codec) -> None:
    token = minted(codec, rb'{"exp":4102444800,"sub":"a\ud83d","na\ude00me":["\ud83d\ude00"]}')
    assert opened(codec, token).claims == {
        "exp": 4102444800,
        "sub": "a\ufffd",
        "na\ufffdme": ["😀"],
    }


# --- sealing -------------------------------------------------------------------------------------


@BOTH
def test_what_was_sealed_opens_with_the_claims_and_those_of_its_time(codec: Codec) -> None:
    found = opened(codec, sealed(codec, {**ADA, "exp": 1, "iat": 1, "jti": "old"}))
    assert found.claims == {**ADA, "iat": int(NOW), "exp": int(NOW) + 60, "jti": "once"}
    assert found.expires_at == NOW + 60 + TOLERANCE
    assert found.secret == 0


ISSUED = [
    pytest.param(codec, vector, id=vector["id"])
    for name, codec in FORMATS.items()
    for vector in load(name)
    if vector["set_cookie"] and vector["kind"] == "valid"
]


@pytest.mark.parametrize(("codec", "vector"), ISSUED)
def test_header_and_pieces_are_those_that_the_package_writes(codec: Codec, vector: Vector) -> None:
    name = vector["cookie_name"]
    pairs = (cookie.partition(";")[0].partition("=") for cookie in vector["set_cookie"])
    written = {cookie: value for cookie, _, value in pairs}
    value = codec.pieces(written, name)
    assert codec.split(name, value) == written
    found = opened(codec, value, now=vector["now"], secrets=vector["secrets"], name=name)
    ours = sealed(codec, secrets=[vector["secrets"][found.secret]], name=name)
    assert ours.partition(".")[0] == value.partition(".")[0]


@BOTH
def test_a_cookie_and_its_keys_are_in_no_representation(codec: Codec) -> None:
    assert "Ada" not in repr(opened(codec, sealed(codec)))
    assert SECRET not in repr(codec.Keys([SECRET], NAME))


@BOTH
@pytest.mark.parametrize(
    ("under", "configured", "place"),
    [
        pytest.param([OLDER], [OLDER], 0, id="the same"),
        pytest.param([OLDER], [SECRET, OLDER], 1, id="an older one"),
        pytest.param([OLDER], [OTHER, SECRET, OLDER], 2, id="the oldest of three"),
        pytest.param([SECRET, OLDER], [SECRET], 0, id="the first one seals"),
        pytest.param([SECRET], [SECRET, SECRET], 0, id="the same one twice"),
        pytest.param([OLDER], [SECRET], None, id="one that was removed"),
        pytest.param([SECRET + " "], [SECRET], None, id="one with a blank more"),
    ],
)
def test_the_first_secret_seals_and_all_open(
    codec: Codec, under: list[str], configured: list[str], place: int | None
) -> None:
    token = sealed(codec, secrets=under)
    if place is None:
        assert refusal(codec, token, secrets=configured) is Why.BAD_KEY
    else:
        assert opened(codec, token, secrets=configured).secret == place


def test_a_cookie_of_authjs_opens_under_its_own_name_alone() -> None:
    token = sealed(authjs, name="authjs.session-token")
    assert refusal(authjs, token, name="__Secure-authjs.session-token") is Why.BAD_KEY


def test_a_key_that_a_token_of_authjs_names_is_the_only_one_tried() -> None:
    named = sealed(authjs, secrets=[OLDER])
    unnamed = minted(authjs, b'{"exp":4102444800}', {"alg": "dir", "enc": "A256CBC-HS512"})
    assert opened(authjs, unnamed).secret == 0
    assert refusal(authjs, unnamed, secrets=[OLDER, SECRET]) is Why.BAD_KEY
    header, rest = named.partition(".")[0], sealed(authjs).partition(".")[2]
    assert refusal(authjs, f"{header}.{rest}", secrets=[SECRET, OLDER]) is Why.BAD_TAG


# --- when it holds -------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(
    ("claims", "now", "why"),
    [
        pytest.param(b'{"exp":100}', 114.9, None, id="within the tolerance"),
        pytest.param(b'{"exp":100}', 115.0, Why.EXPIRED, id="expired on the second"),
        pytest.param(b'{"exp":100.5}', 115.9, None, id="a fraction counts as a second"),
        pytest.param(b'{"exp":100.5}', 116.0, Why.EXPIRED, id="and no longer"),
        pytest.param(b'{"exp":-1e300}', 0.0, Why.EXPIRED, id="before all time"),
        pytest.param(b'{"exp":1e300}', 2e11, None, id="after all time"),
        pytest.param(b'{"exp":1' + b"0" * 400 + b"}", 2e11, None, id="beyond a double"),
        pytest.param(b'{"exp":-1' + b"0" * 400 + b"}", 0, Why.EXPIRED, id="below a double"),
        pytest.param(b'{"exp":1e400}', 0.0, Why.BAD_CLAIMS, id="infinity in digits"),
        pytest.param(b'{"exp":Infinity}', 0.0, Why.BAD_CLAIMS, id="infinity"),
        pytest.param(b'{"exp":NaN}', 0.0, Why.BAD_CLAIMS, id="no number"),
        pytest.param(b'{"exp":true}', 0.0, Why.BAD_CLAIMS, id="true is not 1"),
        pytest.param(b'{"exp":"100"}', 0.0, Why.BAD_CLAIMS, id="digits in a string"),
        pytest.param(b'{"exp":null}', 0.0, Why.BAD_CLAIMS, id="null"),
        pytest.param(b"{}", 0.0, Why.BAD_CLAIMS, id="never"),
        pytest.param(b'{"exp":100}', float("nan"), Why.EXPIRED, id="a clock that is broken"),
        pytest.param(b'{"exp":100,"nbf":15}', 0.0, None, id="not before, within the tolerance"),
        pytest.param(b'{"exp":100,"nbf":16}', 0.9, Why.NOT_YET_VALID, id="not before"),
        pytest.param(b'{"exp":100,"nbf":null}', 0.0, Why.BAD_CLAIMS, id="not before null"),
        pytest.param(b'{"exp":100,"iat":1e9}', 0.0, None, id="issued tomorrow"),
        pytest.param(b'{"exp":100,"iat":[]}', 0.0, Why.BAD_CLAIMS, id="issued at no time"),
    ],
)
def test_the_times_of_a_token(codec: Codec, claims: bytes, now: float, why: Why | None) -> None:
    token = minted(codec, claims)
    if why is None:
        assert opened(codec, token, now=now).expires_at is not None
    else:
        assert refusal(codec, token, now=now) is why


@BOTH
@pytest.mark.parametrize(
    "exp",
    [253402300785, 253402300799, 1e300, pytest.param(10**400, id="beyond a double")],
)
def test_the_end_of_a_token_is_a_moment_that_calendars_know(codec: Codec, exp: float) -> None:
    ends = opened(codec, minted(codec, json.dumps({"exp": exp}).encode())).expires_at
    assert ends is not None
    assert isoformat(ends).startswith("9999-12-31T23:59:")


@BOTH
def test_the_time_from_which_a_token_is_refused_is_the_one_that_is_told(codec: Codec) -> None:
    for exp in (NOW + 5, NOW + 5.25, NOW - 3):
        token = minted(codec, json.dumps({"exp": exp}).encode())
        ends = opened(codec, token).expires_at
        assert ends is not None
        assert opened(codec, token, now=ends - 0.001).expires_at == ends
        assert refusal(codec, token, now=ends) is Why.EXPIRED


@BOTH
@pytest.mark.parametrize(
    "plaintext",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"null", id="null"),
        pytest.param(b"[]", id="an array"),
        pytest.param(b'"exp"', id="a string"),
        pytest.param(b'{"exp":4102444800}x', id="something behind it"),
        pytest.param(b'{"exp":4102444800,"a":"\xff"}', id="no UTF-8"),
        pytest.param(b'{"exp":4102444800,"a":"\xed\xa0\x80"}', id="half a pair in UTF-8"),
        pytest.param('{"exp":4102444800}'.encode("utf-16"), id="UTF-16"),
        pytest.param(b'{"exp":4102444800,"a":' + b"[" * 65 + b"]" * 65 + b"}", id="deep"),
        pytest.param(b"[" * 10_000 + b"]" * 10_000, id="deeper than the stack"),
        pytest.param(b'{"exp":4102444800,"a":"\\ud800","b":' + b"[" * 9000, id="deep, and odd"),
    ],
)
def test_what_is_authentic_but_no_claims_is_refused(codec: Codec, plaintext: bytes) -> None:
    assert refusal(codec, minted(codec, plaintext)) is Why.BAD_CLAIMS


# --- what was never issued -----------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none"},
        {"alg": "DIR"},
        {"alg": "A256KW"},
        {"alg": "PBES2-HS256+A128KW", "p2c": 10**9, "p2s": "AAAA"},
        {"alg": ["dir"]},
        {"alg": None},
        {"enc": "A128GCM"},
        {"enc": "A128CBC-HS256"},
        {"enc": ""},
        {"enc": None},
        {"crit": []},
        {"crit": ["exp"]},
        {"zip": "DEF"},
        {"zip": None},
        {"iss": "somebody"},
    ],
    ids=json.dumps,
)
def test_other_algorithms_and_extensions_are_refused_whoever_sealed(
    codec: Codec, header: dict[str, Any]
) -> None:
    enc = "A256GCM" if codec is nextauth else "A256CBC-HS512"
    token = minted(codec, b'{"exp":4102444800}', {"alg": "dir", "enc": enc, **header})
    assert refusal(codec, token) is Why.BAD_ALG
    assert refusal(codec, token, secrets=[OTHER]) is Why.BAD_ALG


def test_tokens_of_the_other_major_version_are_told_apart() -> None:
    assert refusal(nextauth, sealed(authjs)) is Why.WRONG_KIND
    assert refusal(authjs, sealed(nextauth)) is Why.BAD_KEY


def test_gcm_of_authjs_opens_with_the_key_that_its_header_names() -> None:
    keys = authjs.Keys([SECRET, OLDER], NAME)
    (name,) = [name for (enc, name), at in keys.names.items() if enc == "A256GCM" and at == 1]
    header = jwe.header(alg="dir", enc="A256GCM", kid=name)
    token = jwe.seal_gcm(header, AESGCM(keys.keys[1][:32]), bytes(12), b'{"exp":4102444800}')
    assert opened(authjs, token, secrets=[SECRET, OLDER]).secret == 1
    wide = {"alg": "dir", "enc": "A256CBC-HS512", "kid": name}
    assert refusal(authjs, minted(authjs, b"{}", wide), secrets=[SECRET, OLDER]) is Why.BAD_KEY


# --- nothing but what was issued opens -----------------------------------------------------------

LONG = {**ADA, "roles": [f"role-{number}" for number in range(900)]}


@BOTH
def test_no_single_changed_character_opens(codec: Codec) -> None:
    token = sealed(codec, {"sub": "1"})
    keys = codec.Keys([SECRET, OLDER], NAME)
    for at, character in enumerate(token):
        for other in set(BASE64URL + ".+/= ") - {character}:
            with pytest.raises(Refused):
                codec.open(token[:at] + other + token[at + 1 :], keys, NOW)


@BOTH
def test_nothing_cut_off_or_put_in_opens(codec: Codec) -> None:
    token = sealed(codec, {"sub": "1"})
    keys = codec.Keys([SECRET, OLDER], NAME)
    for at in range(len(token) + 1):
        head, tail = token[:at], token[at:]
        changed = {head, tail, head + tail[1:], *(head + more + tail for more in "A.=_-\n \x00é")}
        for text in changed - {token}:
            with pytest.raises(Refused):
                codec.open(text, keys, NOW)


@BOTH
def test_no_mixture_of_two_tokens_opens(codec: Codec) -> None:
    one, two = (sealed(codec, number=number).split(".") for number in (1, 2))
    keys = codec.Keys([SECRET], NAME)
    for choice in range(1, 2**5 - 1):
        mixed = [(one, two)[choice >> at & 1][at] for at in range(5)]
        if mixed not in (one, two):
            with pytest.raises(Refused):
                codec.open(".".join(mixed), keys, NOW)


@BOTH
def test_segments_in_another_order_are_no_token(codec: Codec) -> None:
    segments = sealed(codec).split(".")
    for order in permutations(segments):
        if list(order) != segments:
            refusal(codec, ".".join(order))


@BOTH
@pytest.mark.parametrize("name", ["app", "__Secure-app.session-token"])
def test_pieces_that_were_lost_swapped_mixed_or_left_over_do_not_open(
    codec: Codec, name: str
) -> None:
    keys = codec.Keys([SECRET], name)
    one, two = (
        codec.split(name, sealed(codec, LONG, name=name, number=number)) for number in (1, 2)
    )
    assert list(one) == [f"{name}.{number}" for number in range(len(one))]
    assert len(one) >= 3

    def opens(sent: Mapping[str, str]) -> bool:
        try:
            value = codec.pieces(sent, name)
            return value is not None and bool(codec.open(value, keys, NOW))
        except Refused:
            return False

    assert opens(one)
    assert opens(two)
    assert opens(dict(reversed(one.items()))), "their order in the header says nothing"
    assert opens({**one, f"{name}-old": "x", f"{name}.x": "y", f"{name}.0.1": "z", "a": "b"})
    assert opens({**one, name: "", f"{name}.{len(one)}": ""}), "empty ones are absent"
    for lost in one:
        assert not opens({piece: value for piece, value in one.items() if piece != lost})
        assert not opens({**one, lost: two[lost]})
        assert not opens({**one, lost: one[lost][:-1]})
        assert not opens({**one, lost: ""})
    for order in permutations(one.values()):
        assert opens(dict(zip(one, order, strict=True))) == (order == tuple(one.values()))
    short = sealed(codec, name=name)
    assert not opens({**one, name: short})
    assert not opens({**one, name: "left over"})
    assert not opens({**one, f"{name}.{len(one)}": "A"})
    assert not opens({**one, f"{name}.00": one[f"{name}.0"]})
    assert not opens({**one, f"{name}.999": "A"})


# --- hostile input -------------------------------------------------------------------------------


@BOTH
@given(text=st.one_of(st.text(), st.text(BASE64URL + "."), st.from_regex(r"[\w-]*(\.[\w-]*){4}")))
def test_hostile_text_raises_only_the_documented_error(codec: Codec, text: str) -> None:
    refusal(codec, text)


@BOTH
@given(
    header=st.one_of(
        st.binary(max_size=80),
        st.dictionaries(
            st.sampled_from(["alg", "enc", "kid", "zip", "crit", "p2c", "x"]),
            st.one_of(st.sampled_from(["dir", "A256GCM", "A256CBC-HS512"]), st.integers(),
                      st.none(), st.lists(st.text(), max_size=2)),
        ).map(lambda members: json.dumps(members).encode()),
    ),
    iv=st.binary(max_size=20), ciphertext=st.binary(max_size=80), tag=st.binary(max_size=40),
)  # fmt: skip
def test_well_formed_forgeries_raise_only_the_documented_error(
    codec: Codec, header: bytes, iv: bytes, ciphertext: bytes, tag: bytes
) -> None:
    refusal(codec, ".".join(map(encode, (header, b"", iv, ciphertext, tag))))


@BOTH
@given(plaintext=st.binary(max_size=200))
def test_whatever_the_app_sealed_opens_or_is_refused(codec: Codec, plaintext: bytes) -> None:
    token = minted(codec, plaintext)
    with pytest.raises(Refused):
        opened(codec, token)


@BOTH
def test_a_message_holds_nothing_of_what_was_refused(codec: Codec) -> None:
    for text in (sealed(codec, secrets=[OTHER]), "sekrit", "abc.def.ghi", encode(b"xyz") + "...."):
        with pytest.raises(Refused) as caught:
            opened(codec, text)
        told = str(caught.value) + repr(caught.value)
        assert not [part for part in text.split(".") if part and part in told]


@BOTH
@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param("A" * (jwe.LONGEST + 1), Why.TOO_LARGE, id="letters"),
        pytest.param("." * (jwe.LONGEST + 1), Why.TOO_LARGE, id="dots"),
        pytest.param("." * jwe.LONGEST, Why.MALFORMED, id="as many dots as may be"),
        pytest.param("A" * 1025 + "....", Why.MALFORMED, id="a header that is too long"),
        pytest.param(encode(b"[" * 700) + "....", Why.MALFORMED, id="a header that nests"),
        pytest.param("A" * 9000 + ".A...", Why.MALFORMED, id="with a key of its own"),
    ],
)
def test_what_is_too_long_is_refused_for_its_length(codec: Codec, text: str, why: Why) -> None:
    assert refusal(codec, text) is why


@BOTH
def test_pieces_that_are_too_long_together_are_refused_before_they_are_opened(
    codec: Codec,
) -> None:
    sent = codec.split(NAME, "A" * (jwe.LONGEST + 1))
    with pytest.raises(Refused) as caught:
        codec.pieces(sent, NAME)
    assert caught.value.why is Why.TOO_LARGE
