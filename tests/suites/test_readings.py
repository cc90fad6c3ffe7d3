"""The readings of a request target, against paths that are known to have fooled somebody."""

from __future__ import annotations

import pytest

from tests.suites.readings import readings


@pytest.mark.parametrize(
    "target",
    [
        pytest.param("/admin", id="plain"),
        pytest.param("/admin?x", id="with a query"),
        pytest.param("http://localhost/admin", id="absolute form"),
        pytest.param("/x/../admin", id="dot segments"),
        pytest.param("//admin", id="two slashes"),
        pytest.param("/%61dmin", id="an escape that need not be"),
        pytest.param("/x/%2e%2e/admin", id="escaped dots"),
        pytest.param("/x%2f..%2fadmin", id="escaped slashes"),
        pytest.param("/x\\..\\admin", id="backslashes"),
        pytest.param("/%2561dmin", id="escaped twice"),
        pytest.param("/x/..;/admin", id="parameters on a dot segment"),
        pytest.param("/admin;x", id="parameters"),
        pytest.param("/admin%3bx", id="escaped semicolon"),
        pytest.param("/admin%3fx", id="escaped question mark"),
        pytest.param("/admin%23", id="escaped hash"),
    ],
)
def test_somebody_reads_admin(target: str) -> None:
    assert "/admin" in {path for _, path in readings(target)}


@pytest.mark.parametrize("target", ["/", "/administrator", "/x/admin", "/?/admin", "/Admin"])
def test_nobody_reads_admin(target: str) -> None:
    assert "/admin" not in {path for _, path in readings(target)}
