"""``gateway explain``: what it prints, and that the gateway then does what it said."""

from __future__ import annotations

import http.client
import json
import os
import pty
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from gateway.cli.main import main
from gateway.config.config import Config
from gateway.config.load import load_file
from gateway.model import User
from gateway.rules.simulate import EXAMPLE_REQUEST_ID, EXAMPLE_SESSION_ID, NAVIGATION, Visit
from gateway.server.explain import explain
from tests.gateway_process import COMMAND, GatewayProcess

CONFIG = """\
version: 1
server:
  listen: 127.0.0.1:${PORT:-8080}
  public_url: http://127.0.0.1:${PORT:-8080}
session: {store: "sqlite:///sessions.db"}
roles:
  viewer: {permissions: ["reports:read"]}
  editor: {inherits: [viewer], permissions: ["reports:write"]}
  owner: {inherits: [editor]}
upstreams: {app: "${UPSTREAM:-http://127.0.0.1:3000}"}
defaults: {access: deny, upstream: app}
routes:
  - {path: /public/**, access: public}
  - {path: /optional, access: optional}
  - {path: /app/**, access: login}
  - {path: /edit/**, access: login, role: editor}
  - {path: /reports, methods: [GET], access: login, permission: "reports:read"}
  - {path: /reports, methods: [POST], access: login, permission: "reports:write"}
  - {path: /api/**, access: login, when_denied: json}
  - {path: /api/edit, access: login, role: editor, when_denied: json}
  - {path: /here, access: public, network: 127.0.0.0/8}
  - {path: /elsewhere, access: public, network: 10.0.0.0/8}
  - {path: /ada, access: login, user: [ada, eve]}
  - {path: /closed, access: deny}
  - {path: /forward, access: login, when_denied: redirect}
  - path: /own/**
    access: login
    any_role: [editor, owner]
    when_denied: {unauthenticated: "https://id.example.com/?to={return_to}", forbidden: /sorry}
  - {path: /old/**, access: login, strip_prefix: /old, add_prefix: /v1, preserve_host: false}
  - {path: /files/**, access: public, allow_in_path: ["%2F"]}
  - {path: "/users/{id}", access: public}
  - {path: /users/me, access: login}
  - {host: "*.example.com", path: /**, access: login}
  - {host: admin.example.com, path: /**, access: login, role: editor}
  - {path: /Folded/**, access: public, case: insensitive}
"""
LINES = {line.strip(): number for number, line in enumerate(CONFIG.splitlines(), 1)}


def line_of(start: str) -> int:
    """Return the line of the configuration that holds a route."""
    (number,) = (number for line, number in LINES.items() if start in line)
    return number


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("PORT", "UPSTREAM"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    return path


def told(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    status = main(["explain", "--json", *words])
    return status, json.loads(capsys.readouterr().out)


# --- the gateway does what was said --------------------------------------------------------------


class _Echo(BaseHTTPRequestHandler):
    """Answers with what it got."""

    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        body = json.dumps({"path": self.path, "headers": self.headers.items()}).encode()
        self.send_response(200)
        self.send_header("X-Echo", "yes")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_PUT = do_OPTIONS = do_DELETE = _answer  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Echo) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def gateway(upstream: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    folder = tmp_path_factory.mktemp("gateway")
    with GatewayProcess(folder, CONFIG, UPSTREAM=upstream) as process:
        yield process


PEOPLE = {
    "nobody": None,
    "bob": User(id="bob"),
    "ada, viewer": User(id="ada", roles=("viewer",)),
    "eve, editor": User(id="eve", roles=("editor", "unknown")),
}


@pytest.fixture(scope="module")
def cookies(gateway: GatewayProcess) -> dict[str, str]:
    """The session cookie of each of ``PEOPLE``."""
    return {
        who: gateway.sign_in(user.id, roles=user.roles).cookie
        for who, user in PEOPLE.items()
        if user is not None
    }


@pytest.fixture(scope="module")
def config(gateway: GatewayProcess, upstream: str) -> Config:
    """What the running gateway serves."""
    return load_file(gateway.config, {"PORT": str(gateway.port), "UPSTREAM": upstream})


TARGETS = [
    "/", "/public", "/public/a/b/", "/public/%7ea?x=1&y", "/optional", "/app", "/app/home?x=1",
    "/edit/x", "/reports", "/api/me", "/api/edit", "/here", "/elsewhere", "/ada", "/closed",
    "/forward", "/own/x", "/old", "/old/a/b/?q", "/old/caf%c3%a9", "/files/a%2fb", "/public/a%2Fb",
    "/files/..%2fx", "/users/7", "/users/me", "/users/ME", "/folded/x", "/FOLDED", "/nowhere",
    "/public/../app", "/public/%2e%2e/app", "/public//x", "//app", "/public/%", "/public/%zz",
    "/public/%c0%af", "/public/;x", "/public/%00", "/public/%5c", "/public/a#b", "/_gatewayed",
    "http://www.example.com/x", "http://admin.example.com/x", "http://ADMIN.example.com./x?y",
    "http://example.com/app", "http://admin.example.com:81/", "http://[::1]:80/public",
]  # fmt: skip
METHODS = ["GET", "HEAD", "POST", "PUT", "OPTIONS"]
EXAMPLES = {
    "X-Session-Id": EXAMPLE_SESSION_ID,
    "X-Request-Id": EXAMPLE_REQUEST_ID,
    "X-Session-Expires": "[0-9T:.-]+Z",
}
"""Headers whose values only a real request has, and what stands for them."""


def really(
    gateway: GatewayProcess, method: str, target: str, cookie: str | None
) -> tuple[http.client.HTTPResponse, bytes]:
    """Ask the gateway as a browser does."""
    host = f"127.0.0.1:{gateway.port}"
    if not target.startswith("/"):
        host, slash, path = target.removeprefix("http://").partition("/")
        target = slash + path
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=10)
    try:
        connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
        connection.putheader("Host", host)
        for name, value in NAVIGATION.items():
            connection.putheader(name, value)
        if cookie is not None:
            connection.putheader("Cookie", cookie)
        connection.endheaders()
        answer = connection.getresponse()
        return answer, answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize("who", PEOPLE)
@pytest.mark.parametrize("target", TARGETS)
def test_the_gateway_does_what_is_explained(
    target: str,
    who: str,
    gateway: GatewayProcess,
    config: Config,
    cookies: dict[str, str],
) -> None:
    for method in METHODS:
        visit = Visit(method=method, target=target, user=PEOPLE[who])
        said = explain(config, visit, now=time.time()).as_json()
        answer, body = really(gateway, method, target, cookies.get(who))

        assert answer.status == said["status"]
        assert answer.getheader("Location") == said["location"]
        is_json = answer.getheader("Content-Type") == "application/problem+json"
        assert is_json is (said["kind"] == "json")
        assert (answer.getheader("X-Echo") == "yes") is (said["upstream"] is not None)
        if said["upstream"] is None or method == "HEAD":
            continue
        seen = json.loads(body)
        assert seen["path"] == said["upstream"]["path"]
        headers = dict(seen["headers"])
        assert len(headers) == len(seen["headers"])
        for name, example in EXAMPLES.items():
            if name in said["headers"]:
                assert re.fullmatch(example, said["headers"].pop(name))
                assert headers.pop(name)
        assert headers == said["headers"]


def test_a_page_of_the_gateway_itself(gateway: GatewayProcess, config: Config) -> None:
    page = "/_gateway/auth/signin"
    said = explain(config, Visit(method="GET", target=page), now=time.time()).as_json()
    answer, _ = really(gateway, "GET", page, None)

    assert (said["decision"], said["status"], said["reason"]) == ("allow", answer.status, "page")
    assert (said["route"], said["upstream"], said["headers"]) == (None, None, {})


# --- JSON ----------------------------------------------------------------------------------------


def test_the_keys_that_programs_rely_on(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, said = told(capsys, "GET", "/users/me?x=1", "--user", "ada", "--role", "editor")

    assert status == 0
    headers = said.pop("headers")
    assert headers["X-User-Id"] == "ada"
    assert headers["X-User-Roles"] == "editor,viewer"
    assert headers["X-Forwarded-For"] == "127.0.0.1"
    assert said == {
        "method": "GET",
        "url": "/users/me?x=1",
        "caller": {
            "id": "ada",
            "roles": ["editor", "viewer"],
            "permissions": ["reports:read", "reports:write"],
        },
        "route": {
            "id": "/users/me",
            "line": line_of("/users/me"),
            "host": None,
            "path": "/users/me",
            "methods": [],
            "access": "login",
        },
        "decision": "allow",
        "reason": "ok",
        "detail": "",
        "status": 200,
        "kind": "",
        "location": None,
        "allow": [],
        "upstream": {"name": "app", "path": "/users/me?x=1"},
        "rules": [{"rule": "access", "wanted": ["login"], "holds": True}],
        "also_matching": [
            {
                "id": "/users/{id}",
                "line": line_of("/users/{id}"),
                "host": None,
                "path": "/users/{id}",
                "methods": [],
                "access": "public",
                "why_not": "less specific: segment 2 is any one, "
                f"and 'me' in line {line_of('/users/me')}",
            }
        ],
        "notes": [],
    }


SHAPED = """\
version: 1
upstreams: {app: "http://127.0.0.1:3000"}
routes:
  - path: /shaped/**
    access: login
    set_headers: {request: {X-Key: hush, Accept: "*/*"}}
    remove_headers: {request: [Sec-Fetch-Mode]}
    rate_limit: {requests: 5, per: 1m}
    cors: {origins: "*"}
"""


def test_what_a_route_sets_is_named_and_what_is_not_simulated_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "shaped.yaml"
    file.write_text(SHAPED)

    assert main(["explain", "-c", str(file), "GET", "/shaped/x", "--user", "ada"]) == 0
    text = capsys.readouterr().out
    assert "headers   Host: localhost:8080\n          X-Key: (from set_headers)\n" in text
    assert "Accept: (from set_headers)" in text
    assert "Sec-Fetch-Mode" not in text
    assert "notes     rate_limit: 5 requests in 60 s by user, then 429; nothing is counted" in text
    assert "          cors: a pre-flight" in text
    assert "hush" not in text

    assert main(["explain", "-c", str(file), "OPTIONS", "/shaped/x"]) == 1
    text = capsys.readouterr().out
    assert "rate_limit" not in text
    assert "notes     cors: a pre-flight" in text


ACCEPTING = """\
version: 1
session:
  accept: [{name: shop, type: nextauth, secret: whispered-to-nobody-else-whatsoever}]
upstreams: {app: "http://127.0.0.1:3000"}
routes:
  - {path: /some/**, access: login, accept: [shop]}
  - {path: /own/**, access: login, accept: []}
  - {path: /all/**, access: login}
"""


@pytest.mark.parametrize(
    ("path", "note"),
    [
        ("/some/x", "besides the gateway's own sessions, those of shop count here"),
        ("/own/x", "besides the gateway's own sessions, those of nobody else count here"),
        ("/all/x", ""),
    ],
)
def test_whose_sessions_count_on_a_route(
    path: str, note: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "accepting.yaml"
    file.write_text(ACCEPTING)

    assert main(["explain", "-c", str(file), "GET", path, "--user", "ada"]) == 0
    text = capsys.readouterr().out
    assert (f"accept: {note}" in text) if note else ("own sessions" not in text)


def test_a_challenge(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, said = told(capsys, "GET", "/app/home?x=1")

    assert status == 1
    assert said["caller"] is None
    assert said["route"]["line"] == line_of("/app/**")
    assert (said["decision"], said["reason"], said["status"], said["kind"]) == (
        "challenge", "not_signed_in", 302, "login",
    )  # fmt: skip
    assert said["location"] == "/_gateway/auth/signin?callbackUrl=%2Fapp%2Fhome%3Fx%3D1"
    assert (said["headers"], said["upstream"]) == ({}, None)


def test_a_rule_that_fails(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, said = told(capsys, "POST", "/reports", "--role", "viewer")

    assert status == 1
    assert (said["decision"], said["reason"], said["status"]) == ("deny", "missing_permission", 403)
    assert said["rules"] == [
        {"rule": "access", "wanted": ["login"], "holds": True},
        {"rule": "permission", "wanted": ["reports:write"], "holds": False},
    ]
    assert [other["id"] for other in said["also_matching"]] == ["GET /reports"]


def test_a_method_that_nobody_lists(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, said = told(capsys, "DELETE", "/reports", "--role", "editor")

    assert (status, said["status"], said["route"]) == (1, 405, None)
    assert said["allow"] == ["GET", "HEAD", "POST"]
    assert [other["why_not"] for other in said["also_matching"]] == [
        "it lists only GET",
        "it lists only POST",
    ]


def test_what_nobody_owns(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, said = told(capsys, "GET", "/nowhere", "--role", "editor")

    assert (status, said["status"], said["reason"], said["route"]) == (1, 403, "no_route", None)


def test_the_client_s_address(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert told(capsys, "GET", "/elsewhere")[0] == 1
    status, said = told(capsys, "GET", "/elsewhere", "--client", "10.1.2.3")

    assert status == 0
    assert said["headers"]["X-Forwarded-For"] == "10.1.2.3"


def test_a_permission_without_any_role(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, said = told(capsys, "GET", "/reports", "--permission", "reports:read")

    assert (status, said["caller"]["roles"]) == (0, [])


def test_a_user_without_roles_is_signed_in(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert told(capsys, "GET", "/app", "--user", "bob")[0] == 0
    assert told(capsys, "GET", "/app", "--anonymous")[0] == 1
    assert told(capsys, "GET", "/app")[0] == 1


# --- text ----------------------------------------------------------------------------------------


def test_text_for_people(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "get", "/old/a?x", "--user", "ada"]) == 0

    lines = capsys.readouterr().out.splitlines()
    expires = next(line for line in lines if "X-Session-Expires" in line)
    assert lines == [
        "GET /old/a?x as user=ada",
        "allow: 200 (ok)",
        "",
        f"route     /old/** (config.yaml:{line_of('/old/**')})",
        "rules     holds  access: login",
        "upstream  app: GET /v1/a?x",
        "headers   Host: 127.0.0.1:3000",
        "          Accept: text/html,application/xhtml+xml,*/*;q=0.8",
        "          Sec-Fetch-Mode: navigate",
        "          X-Forwarded-For: 127.0.0.1",
        "          X-Forwarded-Proto: http",
        "          X-Forwarded-Host: 127.0.0.1:8080",
        "          X-Forwarded-Port: 8080",
        '          Forwarded: for=127.0.0.1;host="127.0.0.1:8080";proto=http',
        "          X-User-Id: ada",
        "          X-Session-Id: example-session-id",
        expires,
        "          X-Auth-Provider: local",
        "          X-Request-Id: example-request-id",
    ]


@pytest.mark.parametrize(
    ("words", "status", "expected"),
    [
        (["GET", "/own/x", "--role", "viewer"], 1,
         ["GET /own/x as user=test-user role=viewer permission=reports:read",
          "deny: 302 (missing_role), to /sorry", "",
          "route     /own/** (config.yaml:{own})",
          "rules     holds  access: login",
          "          fails  any_role: editor, owner"]),
        (["POST", "/api/edit"], 1,
         ["POST /api/edit as anonymous",
          "challenge: 401 as problem+json (not_signed_in)", "",
          "route     /api/edit (config.yaml:{edit})",
          "          also matches: /api/** (config.yaml:{api}): "
          "less specific: segment 2 is /**, and 'edit' in line {edit}",
          "rules     fails  access: login",
          "          fails  role: editor"]),
        (["PUT", "/reports"], 1,
         ["PUT /reports as anonymous", "deny: 405 (method)", "",
          "route     none that lists PUT: only GET, HEAD, POST",
          "          also matches: GET /reports (config.yaml:{get}): it lists only GET",
          "          also matches: POST /reports (config.yaml:{post}): it lists only POST"]),
        (["GET", "/nowhere"], 1,
         ["GET /nowhere as anonymous", "deny: 403 (no_route)", "",
          "route     none: `defaults` decides", "rules     fails  access: deny"]),
        (["GET", "/a/../b"], 1,
         ["GET /a/../b as anonymous", "deny: 400 (ambiguous_path: a dot segment)", "",
          "route     none was looked for"]),
        (["GET", "/_gateway/auth/session"], 0,
         ["GET /_gateway/auth/session as anonymous", "allow: 200 (page)", "",
          "route     none: this is a page of the gateway itself"]),
    ],
)  # fmt: skip
def test_refusals_for_people(
    words: list[str],
    status: int,
    expected: list[str],
    file: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["explain", *words]) == status

    places = {
        "own": line_of("path: /own"),
        "api": line_of("path: /api/**"),
        "edit": line_of("path: /api/edit"),
        "get": line_of("[GET]"),
        "post": line_of("[POST]"),
    }
    shown = capsys.readouterr()
    assert shown.out.splitlines() == [line.format(**places) for line in expected]
    assert shown.err == ""


def test_what_would_steer_a_terminal_is_shown_instead(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", "GET", "/public/\x1b[31m\u202e"]) == 1

    out = capsys.readouterr().out
    assert "/public/\\x1b[31m\\u202e" in out
    assert out.replace("\n", "").isprintable()


def test_colours_only_on_a_terminal(file: Path) -> None:
    command = [sys.executable, "-m", "gateway.cli.main", "explain", "GET", "/app"]
    piped = subprocess.run(command, check=False, capture_output=True).stdout
    shown = on_a_terminal(command, {})
    unwanted = on_a_terminal(command, {"NO_COLOR": "1"})

    assert b"\x1b[" not in piped
    assert b"\x1b[33mchallenge: 302" in shown
    assert unwanted.replace(b"\r\n", b"\n") == piped


def on_a_terminal(command: list[str], environment: dict[str, str]) -> bytes:
    """Return what a command prints on a terminal."""
    ours, theirs = pty.openpty()
    clean = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    process = subprocess.Popen(command, stdout=theirs, env={**clean, **environment})
    os.close(theirs)
    printed = b""
    try:
        while piece := os.read(ours, 65536):
            printed += piece
    except OSError:
        pass  # Linux says EIO where the other side was closed
    finally:
        os.close(ours)
        process.wait(30)
    return printed


# --- what is invalid -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "says"),
    [
        pytest.param([], "METHOD, URL", id="nothing"),
        pytest.param(["GET"], "URL", id="no URL"),
        pytest.param(["GET", "app"], "expected a path or a URL", id="no path"),
        pytest.param(["GET", "ftp://a.org/"], "expected a path or a URL", id="another scheme"),
        pytest.param(["G T", "/"], "expected a method", id="no method"),
        pytest.param(["/", "GET"], "expected a method", id="the wrong way round"),
        pytest.param(["GET", "/", "--user", ""], "expected a user's id", id="empty user"),
        pytest.param(["GET", "/", "--user", "a\nb"], "expected a user's id", id="control"),
        pytest.param(["GET", "/", "--role", "a,b"], "expected a name without comma", id="role"),
        pytest.param(["GET", "/", "--permission", "a|b"], "expected a name", id="permission"),
        pytest.param(["GET", "/", "--permission", "a*"], "stands alone", id="asterisk"),
        pytest.param(["GET", "/", "--client", "here"], "IPv4 or IPv6", id="no address"),
        pytest.param(["GET", "/\udcff"], "UTF-8", id="bytes"),
        pytest.param(["GET", "/", "--usr", "a"], "unrecognized arguments", id="misspelt"),
    ],
)
def test_wrong_usage_is_2(
    words: list[str], says: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["explain", *words])

    assert caught.value.code == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--user", "a"], ["--role", "a"], ["--permission", "a"]])
def test_nobody_is_nobody_in_particular(
    words: list[str], file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", "GET", "/", "--anonymous", *words]) == 2
    assert "--anonymous is nobody" in capsys.readouterr().err


def test_an_invalid_file_is_2_with_every_problem(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text("version: 1\nupstreams: {a: http://127.0.0.1:1}\nrotes: []\nsesion: {}\n")

    assert main(["explain", "GET", "/"]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert len(shown.err.splitlines()) == 2
    assert main(["explain", "-c", "missing.yaml", "GET", "/"]) == 2
    assert "cannot be read" in capsys.readouterr().err


# --- the tests of a file -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("test", "fault"),
    [
        ("GET /public as anonymous -> 200", None),
        ("GET /app as anonymous -> 302 login", None),
        ("GET /app as anonymous -> 302", None),
        ("GET /app as user=bob -> 200", None),
        ("GET /edit as role=viewer -> 403", None),
        ("GET /edit as role=viewer,editor -> 200", None),
        ("POST /reports as permission=reports:write -> 200", None),
        ("GET /api/me as anonymous -> 401 json", None),
        ("GET /own/x as anonymous -> 302 login", None),
        ("PUT /reports as anonymous -> 405", None),
        ("GET /public/..%2fapp as anonymous -> 400", None),
        ("GET http://admin.example.com/ as role=viewer -> 403", None),
        ("GET /_gateway/auth/signin as anonymous -> 200", None),
        ("GET /here as anonymous -> 200", None),
        (
            "GET /app as anonymous -> 200",
            "the answer is 302 login (not_signed_in, route /app/** in line {app})",
        ),
        (
            "GET /app as anonymous -> 302 json",
            "the answer is 302 login (not_signed_in, route /app/** in line {app})",
        ),
        (
            "GET /api/me as anonymous -> 302 login",
            "the answer is 401 json (not_signed_in, route /api/** in line {api})",
        ),
        ("GET /own/x as role=viewer -> 302 login",
         "the answer is 302 (missing_role, route /own/** in line {own})"),
        ("GET /public as anonymous -> 200 json",
         "the answer is 200 (ok, route /public/** in line {public})"),
        ("GET /nowhere as role=editor -> 200", "the answer is 403 (no_route, defaults)"),
        ("PUT /reports as role=editor -> 200",
         "the answer is 405 (method, no route lists the method)"),
        ("GET /.. as anonymous -> 200", "the answer is 400 (ambiguous_path, a dot segment)"),
        ("GET /_gateway as anonymous -> 302", "the answer is 200 (page, gateway page)"),
    ],
)  # fmt: skip
def test_policy_tests(
    test: str, fault: str | None, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(f"{CONFIG}tests:\n  - GET /public as anonymous -> 200\n  - {test}\n")

    status = main(["check"])

    places = {
        "app": line_of("path: /app"),
        "api": line_of("path: /api/**"),
        "own": line_of("path: /own"),
        "public": line_of("path: /public"),
    }
    line = len(CONFIG.splitlines()) + 3
    expected = "" if fault is None else fault.format(**places)
    assert capsys.readouterr().err == (
        f"config.yaml:{line}:5: tests[1]: {test}: {expected}\n" if expected else ""
    )
    assert status == (1 if expected else 0)


def test_a_test_with_a_secret_in_it_does_not_show_it(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WHO", "whispered")
    file.write_text(f"{CONFIG}tests:\n  - GET /closed as user=${{WHO}} -> 200\n")

    assert main(["check"]) == 1
    shown = capsys.readouterr().err
    assert "tests[0]: this test: the answer is 403" in shown
    assert "whispered" not in shown


def test_the_command_as_people_call_it(file: Path) -> None:
    done = subprocess.run(
        [COMMAND, "explain", "-c", str(file), "GET", "/public"],
        check=False,
        capture_output=True,
        text=True,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("GET /public as anonymous\nallow: 200 (ok)\n")
