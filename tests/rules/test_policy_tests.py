from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import User
from gateway.rules.policy_tests import PolicyTest, parse_test


def test_a_line_is_understood() -> None:
    assert parse_test(" GET /app?x=1 as user=ada -> 302 login ", 7, 5) == PolicyTest(
        text="GET /app?x=1 as user=ada -> 302 login",
        line=7,
        column=5,
        method="GET",
        target="/app?x=1",
        user=User(id="ada"),
        status=302,
        kind="login",
    )


@pytest.mark.parametrize(
    ("who", "user"),
    [
        pytest.param("anonymous", None, id="nobody"),
        pytest.param("user=ada", User(id="ada"), id="a user without roles"),
        pytest.param("user=a@b.org", User(id="a@b.org"), id="an id with signs"),
        pytest.param("user=a=b", User(id="a=b"), id="an id with an equals sign"),
        pytest.param("user=a,b", User(id="a,b"), id="an id with a comma"),
        pytest.param("role=admin", User(id="test-user", roles=("admin",)), id="role"),
        pytest.param("role=a,b", User(id="test-user", roles=("a", "b")), id="two roles"),
        pytest.param("role=a role=b", User(id="test-user", roles=("a", "b")), id="one by one"),
        pytest.param("permission=x:y", User(id="test-user", permissions=("x:y",)), id="permission"),
        pytest.param(
            "permission=p,q  role=a user=ada",
            User(id="ada", roles=("a",), permissions=("p", "q")),
            id="all of them in any order",
        ),
    ],
)
def test_who_asks(who: str, user: User | None) -> None:
    assert parse_test(f"GET / as {who} -> 200", 1, 1).user == user


@pytest.mark.parametrize(
    ("text", "method", "target", "status", "kind"),
    [
        ("GET / as anonymous -> 200", "GET", "/", 200, ""),
        ("GET  /  as  anonymous  ->  200", "GET", "/", 200, ""),
        ("GET / as anonymous->200", "GET", "/", 200, ""),
        ("DELETE /a as anonymous -> 405", "DELETE", "/a", 405, ""),
        ("M-SEARCH /a as anonymous -> 200", "M-SEARCH", "/a", 200, ""),
        ("GET /a as anonymous -> 302 login", "GET", "/a", 302, "login"),
        ("GET /a as anonymous -> 401 json", "GET", "/a", 401, "json"),
        ("GET http://b.org/a as anonymous -> 403", "GET", "http://b.org/a", 403, ""),
        ("GET https://b.org/a as anonymous -> 403", "GET", "https://b.org/a", 403, ""),
        ("GET /a/../b as anonymous -> 400", "GET", "/a/../b", 400, ""),
        ("GET /as as anonymous -> 200", "GET", "/as", 200, ""),
    ],
)
def test_what_is_asked_and_expected(
    text: str, method: str, target: str, status: int, kind: str
) -> None:
    test = parse_test(text, 1, 1)

    assert (test.method, test.target, test.status, test.kind) == (method, target, status, kind)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("", "expected METHOD PATH as WHO", id="empty"),
        pytest.param("GET /", "expected METHOD PATH as WHO", id="half"),
        pytest.param("GET / -> 200", "expected METHOD PATH as WHO", id="nobody named"),
        pytest.param("GET / as anonymous", "expected METHOD PATH as WHO", id="nothing expected"),
        pytest.param("/ as anonymous -> 200", "expected METHOD PATH as WHO", id="no method"),
        pytest.param("get / as anonymous -> 200", "expected METHOD PATH as WHO", id="small"),
        pytest.param("GET / as anonymous -> 99", "expected METHOD PATH as WHO", id="two digits"),
        pytest.param("GET / as anonymous -> 600", "expected METHOD PATH as WHO", id="no status"),
        pytest.param("GET / as anonymous -> 2000", "expected METHOD PATH as WHO", id="long"),
        pytest.param("GET / as anonymous -> ok", "expected METHOD PATH as WHO", id="a word"),
        pytest.param("GET / as anonymous -> 401 html", "expected METHOD PATH as WHO", id="kind"),
        pytest.param("GET / as anonymous => 200", "expected METHOD PATH as WHO", id="arrow"),
        pytest.param("GET a as anonymous -> 200", "expected a path or a URL", id="no path"),
        pytest.param("GET ftp://a/ as anonymous -> 200", "expected a path or a URL", id="scheme"),
        pytest.param("GET / as nobody -> 200", "expected anonymous, user=ID", id="who"),
        pytest.param("GET / as anonymous x -> 200", "expected anonymous, user=ID", id="and more"),
        pytest.param("GET / as user= -> 200", "expected anonymous, user=ID", id="no id"),
        pytest.param("GET / as role=, -> 200", "expected anonymous, user=ID", id="no role"),
        pytest.param("GET / as group=a -> 200", "not 'group'", id="a word that is none"),
        pytest.param("GET / as user=a user=b -> 200", "no second", id="two users"),
        pytest.param("GET / as anonymous role=a -> 200", "expected anonymous", id="somebody else"),
    ],
)
def test_what_is_no_test(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_test(text, 1, 1)


@given(st.text() | st.text(alphabet="GET /as anonymous=user->20,login").map(lambda t: f"GET / {t}"))
def test_any_text_is_a_test_or_a_fault(text: str) -> None:
    try:
        test = parse_test(text, 1, 1)
    except ValueError:
        return
    assert parse_test(test.text, 1, 1) == test
