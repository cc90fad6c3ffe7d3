from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import Cors
from gateway.rules.cors import answer_fields, preflight_fields

APP = "https://app.example.com"
ONE = Cors(origins=frozenset({APP}))
MANY = Cors(
    origins=frozenset({APP, "https://b.example.com"}),
    methods=("GET", "PUT"),
    headers=("Content-Type", "X-A"),
    expose=("X-Total",),
    credentials=True,
    max_age=600,
)
ANY = Cors(any_origin=True, headers=("*",), expose=("*",))
EVERY = [ONE, MANY, ANY]

VARY = ("Vary", "Origin")


@pytest.mark.parametrize(
    ("cors", "origin", "fields"),
    [
        pytest.param(ONE, APP, [("Access-Control-Allow-Origin", APP), VARY], id="listed"),
        pytest.param(
            MANY,
            APP,
            [
                ("Access-Control-Allow-Origin", APP),
                ("Access-Control-Allow-Credentials", "true"),
                ("Access-Control-Expose-Headers", "X-Total"),
                VARY,
            ],
            id="with everything",
        ),
        pytest.param(ONE, "https://evil.example", [VARY], id="not listed"),
        pytest.param(ONE, "http://app.example.com", [VARY], id="another scheme"),
        pytest.param(ONE, f"{APP}:8443", [VARY], id="another port"),
        pytest.param(ONE, f"{APP}.evil.example", [VARY], id="a longer name"),
        pytest.param(ONE, "null", [VARY], id="null"),
        pytest.param(ONE, "", [VARY], id="empty"),
        pytest.param(ONE, None, [VARY], id="none: a cache must keep it apart all the same"),
        pytest.param(
            ANY,
            "https://evil.example",
            [("Access-Control-Allow-Origin", "*"), ("Access-Control-Expose-Headers", "*")],
            id="any",
        ),
        pytest.param(
            ANY,
            None,
            [("Access-Control-Allow-Origin", "*"), ("Access-Control-Expose-Headers", "*")],
            id="any: the same for everybody, so nothing varies",
        ),
    ],
)
def test_answers(cors: Cors, origin: str | None, fields: list[tuple[str, str]]) -> None:
    assert list(answer_fields(cors, origin)) == fields


@pytest.mark.parametrize(
    ("cors", "origin", "fields"),
    [
        pytest.param(
            ONE,
            APP,
            [
                ("Access-Control-Allow-Origin", APP),
                ("Access-Control-Allow-Methods", "DELETE"),
                VARY,
            ],
            id="the method that it asks about",
        ),
        pytest.param(
            MANY,
            APP,
            [
                ("Access-Control-Allow-Origin", APP),
                ("Access-Control-Allow-Credentials", "true"),
                ("Access-Control-Allow-Methods", "GET, PUT"),
                ("Access-Control-Allow-Headers", "Content-Type, X-A"),
                ("Access-Control-Max-Age", "600"),
                VARY,
            ],
            id="with everything",
        ),
        pytest.param(
            ANY,
            APP,
            [
                ("Access-Control-Allow-Origin", "*"),
                ("Access-Control-Allow-Methods", "DELETE"),
                ("Access-Control-Allow-Headers", "*"),
            ],
            id="any",
        ),
        pytest.param(MANY, "https://evil.example", [VARY], id="not listed: nothing is allowed"),
        pytest.param(MANY, None, [VARY], id="two origins: nothing is allowed"),
    ],
)
def test_preflights(cors: Cors, origin: str | None, fields: list[tuple[str, str]]) -> None:
    assert list(preflight_fields(cors, origin, "DELETE")) == fields


@given(st.sampled_from(EVERY), st.none() | st.text())
def test_an_origin_is_echoed_only_if_it_is_listed(cors: Cors, origin: str | None) -> None:
    for fields in (answer_fields(cors, origin), preflight_fields(cors, origin, "GET")):
        allowed = dict(fields).get("Access-Control-Allow-Origin")
        assert allowed == ("*" if cors.any_origin else origin if origin in cors.origins else None)


@given(st.sampled_from(EVERY), st.none() | st.text())
def test_credentials_never_meet_every_origin(cors: Cors, origin: str | None) -> None:
    fields = dict(answer_fields(cors, origin))
    if "Access-Control-Allow-Credentials" in fields:
        assert fields["Access-Control-Allow-Origin"] in cors.origins
