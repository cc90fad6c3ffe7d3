from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rules.headers import Kind, RequestFields, ResponseFields, fold
from gateway.rules.identity import PRESETS

INJECTED = tuple(PRESETS["gateway"])
FIELDS = RequestFields(INJECTED)
CGI = re.compile(r"[^A-Z0-9]")

TOKENS = st.text(alphabet="abcXYZ019-_.!~+", min_size=1, max_size=12)


def forwarded(*fields: tuple[str, str], kept: frozenset[str] = frozenset()) -> list[str]:
    raw = [(name.encode(), value.encode()) for name, value in fields]
    return [line.decode() for line in RequestFields(INJECTED, kept).split(raw)[0]]


# --- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "folded"),
    [
        ("X-User-Id", "X_USER_ID"),
        ("x_user_id", "X_USER_ID"),
        ("X.User~Id", "X_USER_ID"),
        ("Host", "HOST"),
        ("", ""),
    ],
)
def test_names_are_folded_as_cgi_does(name: str, folded: str) -> None:
    assert fold(name) == folded


@given(TOKENS)
def test_folding_is_what_rfc_3875_says(name: str) -> None:
    assert fold(name) == CGI.sub("_", name.upper()) == fold(fold(name))


# --- what a client sends -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["Accept", "Accept-Encoding", "Authorization", "Content-Type", "Content-Encoding", "Date",
     "If-None-Match", "Origin", "Range", "Referer", "Sec-Fetch-Mode", "Sec-WebSocket-Key",
     "User-Agent", "X-Requested-With", "X-Csrf-Token", "Traceparent", "X-User", "X-User-Idx",
     "X-Forward", "Via", "Early-Data", "Priority"],
)  # fmt: skip
def test_what_applications_need_goes_on(name: str) -> None:
    assert forwarded((name, "v")) == [f"{name}: v"]


@pytest.mark.parametrize(
    "name",
    [
        *INJECTED,
        # the same to an upstream that sees headers as CGI does
        "x-user-id", "X_User_Id", "X-User_Id", "X.User.Id", "x~user!id", "X_SESSION_ID",
        "X-Auth_Provider", "X_Request_Id",
        # ours, whatever the identity headers are
        "X-Gateway-Assertion", "X_Gateway_Assertion", "X-Forwarded-For", "X_Forwarded_For",
        "X-Session-Stale", "x.session_stale",
        "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Port", "Forwarded",
        # of one connection only
        "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization", "TE",
        "Trailer", "Transfer-Encoding", "Transfer_Encoding", "Upgrade", "HTTP2-Settings",
        # what only an upstream may say, and only to us
        "X-Session-Create", "x_session.update", "X-Session-Destroy",
        # written anew
        "Host", "Content-Length", "Content_Length", "Expect",
        # what could re-route or re-address
        "X-Original-URL", "X_Original_Url", "X-Rewrite-URL", "X-HTTP-Method-Override",
        "X-HTTP-Method", "X-Method-Override", "X-Middleware-Subrequest", "X-Real-IP", "X-Client-IP",
        "True-Client-IP", "CF-Connecting-IP", "Proxy", "X-Forwarded-User", "X-Forwarded-Prefix",
        "X-Forwarded-Server", "X_Forwarded_Anything", "X-Forwarded", "Remote-User", "X-Remote-User",
        "X-Host", "X-Cluster-Client-IP",
    ],
)  # fmt: skip
def test_what_no_client_may_say_is_dropped(name: str) -> None:
    for spelling in (name, name.upper(), name.lower()):
        assert forwarded((spelling, "forged"), ("Accept", "*/*")) == ["Accept: */*"]


@given(st.sampled_from(INJECTED), st.lists(st.sampled_from("-_.!~"), min_size=9, max_size=9))
def test_no_spelling_of_an_identity_header_passes(name: str, separators: list[str]) -> None:
    parts = name.split("-")
    spelt = "".join(a + b for a, b in zip(parts, [*separators[: len(parts) - 1], ""], strict=True))

    assert forwarded((spelt, "forged")) == []


@given(TOKENS)
def test_what_goes_on_folds_unlike_anything_injected(name: str) -> None:
    if forwarded((name, "v")):
        assert fold(name) not in map(fold, INJECTED)


def test_only_what_is_injected_is_ours() -> None:
    mapped = RequestFields(["Remote-Name"])

    assert mapped.kind(b"remote_name") is Kind.DROP
    assert mapped.kind(b"X-User-Id") is Kind.FORWARD
    assert mapped.kind(b"X-Request-Id") is Kind.DROP


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        pytest.param("X-Real-IP", True, id="steering"),
        pytest.param("x_real_ip", True, id="steering, another spelling"),
        pytest.param("X-Forwarded-Prefix", True, id="an X-Forwarded that is not ours"),
        pytest.param("X-Forwarded-For", False, id="what we say ourselves"),
        pytest.param("X-User-Id", False, id="identity"),
        pytest.param("Transfer-Encoding", False, id="framing"),
        pytest.param("Upgrade", False, id="hop by hop"),
        pytest.param("Host", False, id="host"),
        pytest.param("X-Session-Create", False, id="what makes sessions"),
    ],
)
def test_keep_headers_bring_back_what_could_steer_and_nothing_else(
    name: str, *, kept: bool
) -> None:
    assert bool(forwarded((name, "v"), kept=frozenset({fold(name)}))) is kept


def test_order_case_and_bytes_of_the_rest_stay() -> None:
    raw = [(b"b", b"1"), (b"A", b"\xff\xfe"), (b"Host", b"a.org"), (b"b", b""), (b"A", b"  x")]

    assert FIELDS.split(raw)[0] == [b"b: 1", b"A: \xff\xfe", b"b: ", b"A:   x"]


def test_cookies_come_apart() -> None:
    raw = [(b"Cookie", b"a=1"), (b"Accept", b"*/*"), (b"cOOKIE", b"b=2")]
    lines, cookies = FIELDS.split(raw)[:2]

    assert lines == [b"Accept: */*"]
    assert cookies == [b"a=1", b"b=2"]


@pytest.mark.parametrize(
    ("connection", "left"),
    [
        pytest.param(["keep-alive"], ["X-A", "X-B", "Accept"], id="usual"),
        pytest.param(["close"], ["X-A", "X-B", "Accept"], id="close"),
        pytest.param(["X-A"], ["X-B", "Accept"], id="one"),
        pytest.param(["close, x-a"], ["X-B", "Accept"], id="in any case"),
        pytest.param(["x_a"], ["X-B", "Accept"], id="as CGI sees it"),
        pytest.param(["X-A", "X-B"], ["Accept"], id="two fields"),
        pytest.param([" X-A ,\tX-B"], ["Accept"], id="with blanks"),
        pytest.param([",,"], ["X-A", "X-B", "Accept"], id="nothing"),
    ],
)
def test_what_connection_nominates_stays_behind(connection: list[str], left: list[str]) -> None:
    fields = [*(("Connection", value) for value in connection), *((name, "v") for name in
              ("X-A", "X-B", "Accept"))]  # fmt: skip

    assert forwarded(*fields) == [f"{name}: v" for name in left]
    assert forwarded(*reversed(fields)) == [f"{name}: v" for name in reversed(left)]


@given(st.lists(st.tuples(TOKENS, st.text(alphabet="ab, x-_"))))
def test_any_fields_at_all(fields: list[tuple[str, str]]) -> None:
    lines = forwarded(*fields)

    assert [line for line in lines if line not in {f"{n}: {v}" for n, v in fields}] == []


def test_names_are_looked_at_once_and_remembered_in_bounds() -> None:
    fields = RequestFields(INJECTED)
    for number in range(10_000):
        fields.split([(b"X-%d" % number, b"v")])

    assert len(fields._kinds) <= 4096
    assert fields.split([(b"X-9999", b"v"), (b"X-User-Id", b"v")])[0] == [b"X-9999: v"]


def test_long_names_are_looked_at_and_not_remembered() -> None:
    # A name may have 64 KiB: thousands of those, kept for good, would be a way to fill the memory.
    request, response = RequestFields(INJECTED), ResponseFields()
    long = b"X-" + b"n" * 63
    for _ in range(2):
        assert request.split([(long, b"v")])[0] == [long + b": v"]
        assert response.split([long + b": v"])[0] == [long + b": v"]
    request.split([(long[:64], b"v")])
    response.split([long[:64] + b": v"])
    for fields in request, response:
        assert long not in fields._kinds
        assert long[:64] in fields._kinds


def test_a_long_spelling_of_an_injected_name_is_dropped_each_time() -> None:
    name = "X-" + "Long" * 20
    fields = RequestFields([name])
    for _ in range(2):
        assert fields.split([(name.replace("-", "_").encode(), b"v")])[0] == []


# --- what an upstream answers --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "passed", "cookies", "dated"),
    [
        pytest.param(["Content-Type: a/b", "X-User-Id: u", "x: 1"],
                     ["Content-Type: a/b", "X-User-Id: u", "x: 1"], [], False, id="the rest"),
        pytest.param(["Set-Cookie: a=1", "X: 1", "set-cookie: b=2"], ["X: 1"],
                     ["Set-Cookie: a=1", "set-cookie: b=2"], False, id="cookies"),
        pytest.param(["Date: now", "X: 1"], ["Date: now", "X: 1"], [], True, id="date"),
        pytest.param(["Content-Length: 5", "X: 1"], ["X: 1"], [], False, id="length"),
        pytest.param(["Transfer-Encoding: chunked", "X: 1"], ["X: 1"], [], False, id="coding"),
        pytest.param(["Keep-Alive: timeout=5", "Proxy-Authenticate: Basic", "Trailer: X",
                      "Upgrade: h2c", "TE: trailers", "Proxy-Connection: close", "X: 1"],
                     ["X: 1"], [], False, id="hop by hop"),
        pytest.param(["Connection: x-a, close", "X-A: 1", "X-B: 1"], ["X-B: 1"], [], False,
                     id="nominated"),
        pytest.param(["X-A: 1", "Connection: x-a", "Connection: x-b", "X-B: 1"], [], [], False,
                     id="nominated in two fields"),
        pytest.param(["CONNECTION: keep-alive", "X: 1"], ["X: 1"], [], False, id="in any case"),
        pytest.param(["Date: now", "Connection: date", "X: 1"], ["X: 1"], [], False,
                     id="a nominated date"),
        pytest.param(["Date: now", "Connection: x", "X: 1"], ["Date: now"], [], True,
                     id="another nominated than the date"),
    ],
)  # fmt: skip
def test_what_becomes_of_an_answer_s_fields(
    sent: list[str], passed: list[str], cookies: list[str], *, dated: bool
) -> None:
    fields = ResponseFields()
    raw = [line.encode() for line in sent]
    for _ in range(2):  # what was learnt the first time holds the second time
        split = fields.split(raw)
        assert [line.decode() for line in split[0]] == passed
        assert [line.decode() for line in split[1]] == cookies
        assert split[2] is dated


@pytest.mark.parametrize(
    "sent",
    [
        ["X: 1", "X-Session-Create: {}", "x-session-destroy: 1"],
        ["X: 1", "X_SESSION_UPDATE: {}"],
        ["X-Session-Update: {}", "X: 1", "Connection: X-Session-Update"],
    ],
    ids=repr,
)
def test_what_an_answer_says_of_the_session_never_goes_on(sent: list[str]) -> None:
    fields = ResponseFields()
    raw = [line.encode() for line in sent]
    for _ in range(2):
        lines, *_, control = fields.split(raw)
        assert lines == [b"X: 1"]
        assert control == tuple(line for line in raw if line[3:9].lower() == b"ession")


def test_response_names_are_remembered_in_bounds() -> None:
    fields = ResponseFields()
    for number in range(10_000):
        assert fields.split([b"X-%d: v" % number])[0] == [b"X-%d: v" % number]

    assert len(fields._kinds) <= 4096
