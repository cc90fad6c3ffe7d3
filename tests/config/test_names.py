"""Names that operators give."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gateway.config import names

LONG = "x" * 64


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (
            names.role_name,
            ["admin", "a b", "Ärzte", "team:x"],
            ["", " a", "a ", "a,b", "a|b", "a\n"],
        ),
        (names.permission_name, ["reports:read", "*"], ["", "reports:*", "**", "a,b"]),
        (names.user_id, ["alice", "a@b.c", "a, b", "é"], ["", " ", "a ", "a\x00", "a\x85b"]),
        (names.label, ["app", "a.b-c_d", "7"], ["", "a b", "-a", "a/b", "é", LONG]),
        (names.method, ["GET", "PURGE", "M-SEARCH"], ["", "get", "CONNECT", "TRACE", "G ET"]),
        (names.cookie_name, ["session", "a.b"], ["", "a b", "a;b", "a=b", "é", "__host-a"]),
        (
            names.header_name,
            ["X-User", "Remote-User", "x_user"],
            ["", "X User", "X:", "Set-Cookie"],
        ),
        (names.kept_header, ["X-Original-URL", "X-Forwarded-User"], ["TE", "Cookie", "a b", ""]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_names(check: Callable[[str], str], good: list[str], bad: list[str]) -> None:
    assert [check(name) for name in good] == good
    for name in bad:
        with pytest.raises(ValueError, match=r"\w") as caught:
            check(name)
        assert len(name) < 4 or name.isupper() or name not in str(caught.value)


@pytest.mark.parametrize(
    "name",
    ["Host", "cookie", "Connection", "Content-Length", "content_length", "Transfer-Encoding", "TE"]  # noqa: RUF005
    + ["Upgrade", "Expect", "Keep-Alive", "Proxy-Authorization", "X-Forwarded-For", "Forwarded"],
)
def test_headers_with_a_meaning_of_their_own_carry_no_identity(name: str) -> None:
    with pytest.raises(ValueError, match="this header"):
        names.header_name(name)
