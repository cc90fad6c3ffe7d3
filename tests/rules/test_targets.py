from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import AmbiguousPath, ClientError, MethodRefused, Reason
from gateway.rules.targets import host_name, read_target


@pytest.mark.parametrize(
    ("target", "host", "expected"),
    [
        pytest.param("/", "a.org", ("a.org", "/", ""), id="root"),
        pytest.param("/app/home", "a.org", ("a.org", "/app/home", ""), id="path"),
        pytest.param("/app?x=1&y", "a.org", ("a.org", "/app", "x=1&y"), id="query"),
        pytest.param("/app?", "a.org", ("a.org", "/app", ""), id="empty query"),
        pytest.param("/a?b?c", "a.org", ("a.org", "/a", "b?c"), id="the first ? divides"),
        pytest.param(
            "/?u=http://b.org/..//", "a.org", ("a.org", "/", "u=http://b.org/..//"), id="q"
        ),
        pytest.param("/%2e%2e/x", "a.org", ("a.org", "/%2e%2e/x", ""), id="paths are not judged"),
        pytest.param("//b.org/x", "a.org", ("a.org", "//b.org/x", ""), id="no host in a path"),
        pytest.param("/a:b@c", "a.org", ("a.org", "/a:b@c", ""), id="colon and at sign"),
        pytest.param("/?q=é", "a.org", ("a.org", "/", "q=é"), id="raw UTF-8 in a query"),
        pytest.param("/?q=\udcff", "a.org", ("a.org", "/", "q=\udcff"), id="raw byte in a query"),
        pytest.param("/x", None, ("", "/x", ""), id="HTTP/1.0 without Host"),
        pytest.param("http://a.org/x?y", "a.org", ("a.org", "/x", "y"), id="absolute"),
        pytest.param("https://a.org/x", "a.org", ("a.org", "/x", ""), id="absolute, https"),
        pytest.param("HTTP://A.org/X", "a.ORG", ("a.org", "/X", ""), id="absolute, any case"),
        pytest.param("http://a.org", "a.org", ("a.org", "/", ""), id="absolute without path"),
        pytest.param("http://a.org?x", "a.org", ("a.org", "/", "x"), id="absolute, query alone"),
        pytest.param("http://a.org:81/x", "a.org:81", ("a.org", "/x", ""), id="absolute, port"),
        pytest.param("http://[::1]:81/", "[::1]:81", ("::1", "/", ""), id="absolute, IPv6"),
        pytest.param("http://a.org//x", "a.org", ("a.org", "//x", ""), id="absolute, path as sent"),
    ],
)
def test_reading_a_target(target: str, host: str | None, expected: tuple[str, str, str]) -> None:
    assert read_target(target, host, "GET") == expected


@pytest.mark.parametrize(
    ("target", "host"),
    [
        pytest.param("", "a.org", id="empty"),
        pytest.param("*", "a.org", id="asterisk"),
        pytest.param("a.org:443", "a.org", id="authority"),
        pytest.param("app/home", "a.org", id="no slash in front"),
        pytest.param("?x", "a.org", id="query alone"),
        pytest.param("\\admin", "a.org", id="backslash in front"),
        pytest.param("ftp://a.org/x", "a.org", id="another scheme"),
        pytest.param("ws://a.org/x", "a.org", id="WebSocket scheme"),
        pytest.param("javascript:alert(1)", "a.org", id="no hierarchy"),
        pytest.param("http:/a.org/x", "a.org", id="one slash"),
        pytest.param("http:a.org/x", "a.org", id="no slash"),
        pytest.param("http:///x", "a.org", id="absolute without host"),
        pytest.param("http://", "a.org", id="absolute without anything"),
        pytest.param("http:///x", "", id="both without host"),
        pytest.param("http://b.org/x", "a.org", id="another host"),
        pytest.param("http://a.org:80/x", "a.org", id="a port that Host lacks"),
        pytest.param("http://a.org/x", "a.org:80", id="a port that the URL lacks"),
        pytest.param("http://a.org./x", "a.org", id="a dot that Host lacks"),
        pytest.param("http://a.org/x", None, id="absolute, no Host"),
        pytest.param("http://u@a.org/x", "a.org", id="userinfo"),
        pytest.param("http://u@a.org/x", "u@a.org", id="userinfo in both"),
        pytest.param("http://b.org\\@a.org/x", "a.org", id="backslash in the authority"),
        pytest.param("http://a.org/x y", "a.org", id="absolute with a space"),
        pytest.param("/a b", "a.org", id="space"),
        pytest.param("/a?b c", "a.org", id="space in the query"),
        pytest.param("/a\tb", "a.org", id="tab"),
        pytest.param("/a?b\x00", "a.org", id="NUL in the query"),
        pytest.param("/a?b\r\nX: y", "a.org", id="line end in the query"),
        pytest.param("/a?é\n", "a.org", id="line end after UTF-8"),
        pytest.param("/a\x7f", "a.org", id="DEL"),
        pytest.param(" /a", "a.org", id="space in front"),
        pytest.param("/a", "", id="empty Host"),
        pytest.param("/a", "a b", id="bad Host"),
    ],
)
def test_targets_that_are_refused(target: str, host: str | None) -> None:
    with pytest.raises(ClientError) as caught:
        read_target(target, host, "GET")
    assert (caught.value.status, caught.value.reason) == (400, Reason.BAD_REQUEST)


@pytest.mark.parametrize(
    "target", ["#", "/#", "/a#b", "/a?b#c", "/a#?b", "http://a.org/#x", "http://a.org#@b.org/"]
)
def test_a_fragment_is_ambiguous(target: str) -> None:
    with pytest.raises(AmbiguousPath):
        read_target(target, "a.org", "GET")


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "trace", "Connect"])
@pytest.mark.parametrize("target", ["/", "a.org:443", "*", "http://a.org/"])
def test_methods_that_no_application_serves(method: str, target: str) -> None:
    with pytest.raises(MethodRefused) as caught:
        read_target(target, "a.org", method)
    assert caught.value.status == 405


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "get", "PROPFIND", "M-SEARCH"])
def test_any_other_method_is_read_alike(method: str) -> None:
    assert read_target("/x", "a.org", method) == ("a.org", "/x", "")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a.org", "a.org"),
        ("A.Example.ORG", "a.example.org"),
        ("a.org:8080", "a.org"),
        ("a.org:1", "a.org"),
        ("a.org:65535", "a.org"),
        ("a.org.", "a.org"),
        ("a.org.:80", "a.org"),
        ("localhost", "localhost"),
        ("my_service", "my_service"),
        ("xn--caf-dma.example", "xn--caf-dma.example"),
        ("a--b.example", "a--b.example"),
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1:80", "192.0.2.1"),
        ("[::1]", "::1"),
        ("[::1]:8080", "::1"),
        ("[2001:DB8:0:0::1]", "2001:db8::1"),
        ("a" * 253, "a" * 253),
    ],
)
def test_hosts(value: str, expected: str) -> None:
    assert host_name(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("", id="empty"),
        pytest.param(".", id="a dot alone"),
        pytest.param(":80", id="a port alone"),
        pytest.param("a.org..", id="two trailing dots"),
        pytest.param("a..org", id="empty label"),
        pytest.param(".a.org", id="leading dot"),
        pytest.param("a.org:", id="empty port"),
        pytest.param("a.org:0", id="port 0"),
        pytest.param("a.org:65536", id="port beyond 65535"),
        pytest.param("a.org:999999", id="port of six digits"),
        pytest.param("a.org:-1", id="negative port"),
        pytest.param("a.org:+80", id="signed port"),
        pytest.param("a.org:http", id="named port"),
        pytest.param("a.org:8\u0660", id="port in another script"),
        pytest.param("a.org:80:80", id="two ports"),
        pytest.param("a.org:80@b.org", id="userinfo that looks like a port"),
        pytest.param("user@a.org", id="userinfo"),
        pytest.param("user:password@a.org", id="userinfo with password"),
        pytest.param("@a.org", id="empty userinfo"),
        pytest.param("a.org,b.org", id="comma"),
        pytest.param("a.org, b.org", id="a list"),
        pytest.param("a.org/", id="slash"),
        pytest.param("a.org/admin", id="path"),
        pytest.param("http://a.org", id="URL"),
        pytest.param("a.org\\b", id="backslash"),
        pytest.param("a.org?x", id="query"),
        pytest.param("a.org#x", id="fragment"),
        pytest.param("a org", id="space"),
        pytest.param(" a.org", id="space in front"),
        pytest.param("a.org ", id="space behind"),
        pytest.param("a.org\t", id="tab"),
        pytest.param("a.org\n", id="line end"),
        pytest.param("a.org\r\nX: y", id="a header in the header"),
        pytest.param("a\x00.org", id="NUL"),
        pytest.param("%61.org", id="percent"),
        pytest.param("café.org", id="no ASCII"),
        pytest.param("\u212aelvin.org", id="a letter that folds to k"),
        pytest.param("a\udcff.org", id="raw byte"),
        pytest.param("a.org;b", id="semicolon"),
        pytest.param('a".org', id="quote"),
        pytest.param("<b>.org", id="angle brackets"),
        pytest.param("a'(1).org", id="other sub-delims"),
        pytest.param("*.org", id="wildcard"),
        pytest.param("a" * 254, id="longer than any name"),
        pytest.param("::1", id="IPv6 without brackets"),
        pytest.param("[::1", id="no closing bracket"),
        pytest.param("::1]", id="no opening bracket"),
        pytest.param("[]", id="empty brackets"),
        pytest.param("[::1]x", id="something behind the bracket"),
        pytest.param("[::1].", id="a dot behind the bracket"),
        pytest.param("[::1]:", id="IPv6 and empty port"),
        pytest.param("[::1]:99999", id="IPv6 and bad port"),
        pytest.param("[::1%eth0]", id="zone"),
        pytest.param("[::1%25eth0]", id="encoded zone"),
        pytest.param("[1.2.3.4]", id="IPv4 in brackets"),
        pytest.param("[v1.a:b]", id="IPvFuture"),
        pytest.param("[1::2::3]", id="two gaps"),
        pytest.param("[12345::]", id="group too long"),
    ],
)
def test_hosts_that_are_refused(value: str) -> None:
    with pytest.raises(ClientError) as caught:
        host_name(value)
    assert (caught.value.status, caught.value.reason) == (400, Reason.BAD_REQUEST)


@pytest.mark.parametrize("code", range(0x100))
def test_every_byte_in_a_host(code: int) -> None:
    value = (b"a" + bytes([code]) + b"b").decode("utf-8", "surrogateescape")
    if value[1].isascii() and (value[1].isalnum() or value[1] in "-._"):
        assert host_name(value) == value.lower()
    else:
        with pytest.raises(ClientError):
            host_name(value)


TEXTS = st.one_of(
    st.text(),
    st.text("/?#*:@[]. \\%ahtps", max_size=20),
    st.text("/?#:@[].a", max_size=12).map("http://a.org".__add__),
)


@given(TEXTS, st.one_of(st.none(), st.text(), st.just("a.org"), st.text("a:.[]1@")))
def test_hostile_text_raises_only_the_documented_errors(target: str, host: str | None) -> None:
    try:
        name, path, query = read_target(target, host, "GET")
    except ClientError:
        return
    assert path.startswith("/")
    assert not set("?#\r\n ") & set(path)
    assert not set("#\r\n ") & set(query)
    assert not set("/@,% []") & set(name)
    assert query == target.partition("?")[2]
