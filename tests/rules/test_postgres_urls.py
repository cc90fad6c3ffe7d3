from __future__ import annotations

from pathlib import Path

import pytest

from gateway.rules.postgres_urls import absolute, is_postgres, parse_postgres_url

HERE = Path("/etc/gateway")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://db/sessions", True),
        ("postgres://db/sessions", True),
        ("postgresql+asyncpg://db/sessions", False),
        ("postgresql:sessions", False),
        ("redis://db/0", False),
    ],
)
def test_is_postgres(url: str, expected: bool) -> None:
    assert is_postgres(url) is expected


@pytest.mark.parametrize(
    ("url", "options"),
    [
        pytest.param("postgresql://db/sessions", {}, id="a host"),
        pytest.param("postgres://ada:p%40ss@db.example.com:5433/sessions", {}, id="all of it"),
        pytest.param("postgresql://[::1]:5432/sessions", {}, id="IPv6"),
        pytest.param("postgresql://[::1]/sessions", {}, id="IPv6 without a port"),
        pytest.param(
            "postgresql://one:5432,two/sessions?target_session_attrs=primary",
            {"target_session_attrs": "primary"},
            id="several",
        ),
        pytest.param(
            "postgresql:///sessions?host=/run/postgresql",
            {"host": "/run/postgresql"},
            id="a Unix socket",
        ),
        pytest.param(
            "postgresql://db/sessions?sslmode=verify-full&sslrootcert=ca.pem&sslcert=/a.pem",
            {"sslmode": "verify-full", "sslrootcert": "/etc/gateway/ca.pem", "sslcert": "/a.pem"},
            id="TLS",
        ),
    ],
)
def test_what_a_url_may_say(url: str, options: dict[str, str]) -> None:
    assert parse_postgres_url(url, HERE) == options


@pytest.mark.parametrize(
    ("url", "message"),
    [
        pytest.param("postgresql://", "expected host:port", id="nothing"),
        pytest.param("postgresql:///sessions", "expected host:port", id="no host"),
        pytest.param("postgresql://db", "expected the database", id="no database"),
        pytest.param("postgresql://db/", "expected the database", id="an empty database"),
        pytest.param("postgresql://db/a/b", "expected the database", id="two of them"),
        pytest.param("postgresql://db:port/sessions", "expected host:port", id="a port of letters"),
        pytest.param("postgresql://db:70000/sessions", "1 to 65535", id="a port too high"),
        pytest.param("postgresql://a:hun/ter@db/x", "expected host:port", id="a slash in it"),
        pytest.param("postgresql://a:hun@ter@db/x", "is written %40", id="an @ in it"),
        pytest.param("postgresql://a:hun#ter@db/x", "expected postgresql://", id="a # in it"),
        pytest.param("postgresql://db/x?sslmod=require", "options after", id="a misspelt option"),
        pytest.param("postgresql://db/x?sslmode=", "options after", id="an empty option"),
        pytest.param("postgresql://db/x?sslmode", "expected name=value", id="half an option"),
        pytest.param("postgresql://db/x?sslmode=yes", "sslmode is one of", id="no such mode"),
        pytest.param("postgresql://db/x?sslmode=verify-full", "go with sslrootcert", id="no CA"),
        pytest.param("postgresql://db/x?sslkey=key.pem", "goes with sslcert", id="half a pair"),
    ],
)
def test_what_it_may_not_say_is_refused_without_showing_it(url: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        parse_postgres_url(url, HERE)
    assert "hun" not in str(caught.value)


def test_files_become_absolute_and_nothing_else_changes() -> None:
    url = "postgresql://a:p%40@db:1/x?sslmode=verify-full&sslrootcert=my%20ca.pem"
    expected = "postgresql://a:p%40@db:1/x?sslmode=verify-full&sslrootcert=/etc/gateway/my%20ca.pem"
    assert absolute(url, HERE) == expected
    assert absolute(expected, HERE) == expected
    assert absolute("postgresql://db/x", HERE) == "postgresql://db/x"
