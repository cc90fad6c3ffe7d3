"""What a valid file means, and what loading promises for every file."""

from __future__ import annotations

import pickle
from contextlib import suppress
from ipaddress import ip_network
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.config import Config, Listener
from gateway.config.load import load, load_file
from gateway.errors import ConfigError
from gateway.model import (
    Access,
    CookieShape,
    Cors,
    CountedBy,
    DenialStyle,
    Forwarding,
    IdentityField,
    Lifetime,
    RateLimit,
    Remember,
    Rules,
    SecurityHeaders,
    ShapedHeaders,
    Target,
    UpstreamTimeouts,
    WhenDenied,
)
from gateway.rules.identity import PRESETS

SMALLEST = "version: 1\nupstreams: {app: http://127.0.0.1:3000}\n"
SECRETS = ("s3cr3t-of-the-file-0123456789abcdef", "s3cr3t-of-the-env-0123456789abcdef", "hunter2")


def config(text: str, folder: Path | None = None, **env: str) -> Config:
    file = "config.yaml" if folder is None else str(folder / "config.yaml")
    return load(SMALLEST + text, file, env)


def problems(text: str, **env: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(text, "config.yaml", env)
    return str(caught.value)


def test_the_smallest_file() -> None:
    read = config("routes: [{path: /app/**, access: login}]\n")

    assert read.server.listen == (Listener(host="127.0.0.1", port=8080),)
    assert read.server.public_url == "http://localhost:8080"
    assert read.server.base_path == "/_gateway"
    assert (read.server.trusted_proxies, read.server.trust_unix) == ((), False)
    assert (read.server.tls, read.server.admin, read.server.request_log) == ((), None, True)
    assert read.server.drain_timeout == 30.0
    assert read.server.keepalive_timeout == 75.0
    assert read.server.header_timeout == 10.0
    assert read.session.store == f"sqlite:///{Path.cwd()}/gateway-sessions.db"
    assert read.session.secrets == ()
    assert read.session.cookie == CookieShape(name="gateway_session")
    assert read.session.lifetime == Lifetime()
    assert (read.session.cache, read.session.store_timeout) == (True, 1.0)
    assert read.session.stale_for == 0.0
    assert read.identity_headers == PRESETS["gateway"]
    assert read.login.path == "/_gateway/auth"
    assert (read.login.url, read.login.providers) == (None, ())
    assert read.upstreams["app"].target == Target(scheme="http", host="127.0.0.1", port=3000)
    assert read.upstreams["app"].timeouts == UpstreamTimeouts()
    assert (read.tests, read.warnings) == ((), ())


def test_a_route_takes_what_it_leaves_out_from_defaults() -> None:
    read = config(
        "defaults: {access: login, case: insensitive, when_denied: json}\n"
        "routes:\n  - {path: /a}\n"
        "  - {path: /b, access: public, case: sensitive, when_denied: auto}\n"
    )
    first, second = read.table.routes
    fallback = read.table.fallback

    assert (first.access, first.case_insensitive) == (Access.LOGIN, True)
    assert first.when_denied == WhenDenied(style=DenialStyle.JSON)
    assert first.forwarding == Forwarding(upstream="app")
    assert (second.access, second.case_insensitive) == (Access.PUBLIC, False)
    assert second.when_denied == WhenDenied()
    assert (fallback.access, fallback.forwarding.upstream) == (Access.LOGIN, "app")
    assert fallback.when_denied == WhenDenied(style=DenialStyle.JSON)


def test_everything_a_route_may_say() -> None:
    text = """
routes:
  - host: '*.Example.com.'
    path: /t/{tenant}/**
    methods: [GET, POST]
    access: login
    role: a
    any_role: [b, c]
    all_roles: [d, a]
    permission: p
    any_permission: [q, r]
    all_permissions: [s]
    user: alice
    network: 10.0.0.0/8
    when_denied: {unauthenticated: /hello, forbidden: https://example.com/sorry}
    upstream: app
    strip_prefix: /t
    add_prefix: /v1/
    preserve_host: false
    timeout: 5s
    max_body: 1MiB
    keep_headers: [X-Original-URL]
    websocket: false
    origins: [HTTPS://Other.example.com:443]
    allow_in_path: ['%2f', ;]
    case: insensitive
"""

    (route,) = config(text).table.routes

    assert route.id == "GET,POST *.Example.com./t/{tenant}/**"
    assert route.line == 5
    assert (route.host, route.pattern) == ("*.example.com", "/t/{tenant}/**")
    assert route.methods == ("GET", "POST")
    assert route.rules == Rules(
        all_roles=("d", "a"),
        any_role=("b", "c"),
        all_permissions=("p", "s"),
        any_permission=("q", "r"),
        users=frozenset({"alice"}),
        networks=(ip_network("10.0.0.0/8"),),
    )
    assert route.when_denied == WhenDenied(
        unauthenticated="/hello", forbidden="https://example.com/sorry"
    )
    assert route.forwarding == Forwarding(
        upstream="app",
        strip_prefix="/t",
        add_prefix="/v1",
        preserve_host=False,
        timeout=5.0,
        max_body=1 << 20,
        keep_headers=frozenset({"X_ORIGINAL_URL"}),
        websocket=False,
        origins=frozenset({"https://other.example.com"}),
    )
    assert route.allow_in_path == {"%2F", ";"}
    assert route.case_insensitive


def test_a_role_named_by_a_number_is_that_text() -> None:
    (route,) = config("routes: [{path: /a, access: login, role: 42, user: [7]}]\n").table.routes

    assert route.rules == Rules(all_roles=("42",), users=frozenset({"7"}))


@pytest.mark.parametrize(
    ("server", "cookie", "name", "secure"),
    [
        ("http://localhost:8080", "{}", "gateway_session", False),
        ("https://app.example.com", "{}", "__Host-gateway_session", True),
        ("https://app.example.com", "{name: sid}", "__Host-sid", True),
        ("https://app.example.com", "{domain: .Example.com}", "__Secure-gateway_session", True),
        ("https://app.example.com", "{path: /app}", "__Secure-gateway_session", True),
        ("https://app.example.com", "{same_site: none}", "__Host-gateway_session", True),
    ],
)
def test_the_cookie_is_as_strict_as_the_origin_allows(
    server: str, cookie: str, name: str, secure: bool
) -> None:
    shape = config(f"server: {{public_url: '{server}'}}\nsession: {{cookie: {cookie}}}\n")

    assert (shape.session.cookie.name, shape.session.cookie.secure) == (name, secure)
    assert shape.session.cookie.domain in (None, "example.com")


@pytest.mark.parametrize(
    ("session", "lifetime"),
    [
        ("max_age: 1h", Lifetime(max_age=3600.0, idle_timeout=3600.0, update_age=300.0)),
        ("max_age: 2m", Lifetime(max_age=120.0, idle_timeout=120.0, update_age=60.0)),
        ("idle_timeout: 4s", Lifetime(idle_timeout=4.0, update_age=2.0)),
        ("update_age: 1s", Lifetime(update_age=1.0)),
        ("max_age: 1h, idle_timeout: 12h", Lifetime(max_age=3600.0, idle_timeout=3600.0)),
        ("idle_timeout: 2s, update_age: 5m", Lifetime(idle_timeout=2.0, update_age=1.0)),
    ],
)
def test_lifetimes_fit_each_other(session: str, lifetime: Lifetime) -> None:
    assert config(f"session: {{{session}}}\n").session.lifetime == lifetime


@pytest.mark.parametrize(
    ("server", "url"),
    [
        ("listen: 0.0.0.0:9000", "http://localhost:9000"),
        ("listen: [unix:/run/g.sock, '[::]:80']", "http://localhost"),
        ("listen: unix:/run/g.sock", "http://localhost"),
    ],
)
def test_public_url_follows_the_listener(server: str, url: str) -> None:
    assert config(f"server: {{{server}}}\n").server.public_url == url


def test_the_rest_of_the_server() -> None:
    read = config(
        "server:\n  base_path: /g/\n  trusted_proxies: [10.0.0.0/8, unix]\n"
        "  admin: 127.0.0.1:0\n  request_log: false\n"
    ).server

    assert read.base_path == "/g"
    assert (read.trusted_proxies, read.trust_unix) == ((ip_network("10.0.0.0/8"),), True)
    assert read.admin is not None
    assert (read.admin.listen, read.admin.token) == (Listener(host="127.0.0.1", port=0), None)
    assert not read.request_log


def test_login_lives_below_base_path_unless_it_says_where() -> None:
    assert config("server: {base_path: /g}\n").login.path == "/g/auth"
    assert config("login: {path: /api/auth}\n").login.path == "/api/auth"


def test_identity_headers_may_be_a_map() -> None:
    read = config("identity: {headers: {X-Uid: user.id, Remote-Groups: user.roles}}\n")

    assert list(read.identity_headers.items()) == [
        ("X-Uid", IdentityField.USER_ID),
        ("Remote-Groups", IdentityField.USER_ROLES),
    ]


def test_roles_follow_inheritance() -> None:
    table = config(
        "roles:\n  viewer:\n  editor: {inherits: [viewer], permissions: [write]}\n"
    ).roles

    assert table.roles["editor"] == {"viewer", "editor"}
    assert table.permissions["editor"] == {"write"}


def test_secrets_come_from_files_and_the_environment(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(f"{SECRETS[0]}\n")
    (tmp_path / "token").write_text("with space \r\n")

    read = config(
        "session: {secret: [${SECRET}, {file: '${NAME}'}], store: '${STORE:-memory://}'}\n"
        "server: {admin: {token: {file: token}}}\n",
        tmp_path,
        SECRET=SECRETS[1],
        NAME="secret",
    )

    assert read.session.secrets == (SECRETS[1], SECRETS[0])
    assert read.session.store == "memory://"
    assert read.server.admin is not None
    assert read.server.admin.token == "with space "


def test_no_secret_is_in_the_repr_of_a_configuration(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRETS[0])

    read = config(
        "session: {secret: [${SECRET}, {file: secret}], store: 'redis://:hunter2@localhost/0'}\n"
        "server: {admin: {token: {file: secret}}}\n",
        tmp_path,
        SECRET=SECRETS[1],
    )

    assert not any(secret in repr(read) for secret in SECRETS)


PLACES = [
    "version: X",
    "server: {listen: X}",
    "server: {public_url: X}",
    "server: {workers: X}",
    "server: {listen: [{address: X, mode: X, proxy_protocol: X}]}",
    "server: {limits: {connections: X}, trust_everybody: X, tracing: X}",
    "server: {tls: [{cert: X, key: X}]}",
    "server: {base_path: X}",
    "server: {trusted_proxies: [X]}",
    "server: {tls: {cert: X, key: X}}",
    "server: {admin: X}",
    "server: {admin: {token: [X]}}",
    "server: {request_log: X, drain_timeout: X}",
    "session: {strategy: X, store: X, secret: {a: X}}",
    "session: {secret: {file: X}}",
    "session: {cookie: {name: X, same_site: X, domain: X, path: X}}",
    "session: {max_age: X, cache: X}",
    "identity: {headers: {preset: X}}",
    "identity: {headers: {X-User: X}}",
    "login: {path: X, url: X}",
    "login: {providers: [{id: X, type: X, file: X}]}",
    "roles: {a: {inherits: [X], permissions: [X]}}",
    "upstreams: {app: X}",
    "upstreams: {app: {targets: [X], timeouts: {connect: X}}}",
    "defaults: {access: X, upstream: X, case: X, when_denied: X}",
    "routes: [X]",
    "routes: [{path: X, host: X}]",
    "routes: [{path: /a, access: login, upstream: X, methods: [X], network: X, origins: [X]}]",
    "routes: [{path: /a, access: X, when_denied: X, max_body: X, timeout: X, websocket: X}]",
    "routes: [{path: /a, access: login, strip_prefix: X, keep_headers: [X], allow_in_path: [X]}]",
    "routes: [{path: /a, access: login, when_denied: {forbidden: X}, case: X, preserve_host: X}]",
    "tests: [X]",
    "tests: ['GET X as role=a -> 200']",
]


@pytest.mark.parametrize("place", PLACES)
def test_a_wrong_value_from_the_environment_is_never_shown(place: str) -> None:
    value = "wrong, *{|}* ev%ery where"
    text = place.replace("X-User", "Y").replace("X", "${SECRET}").replace("Y", "X-User")
    base = yaml.safe_load(SMALLEST)
    base.pop(place.partition(":")[0], None)

    shown = problems(f"{text}\n{yaml.dump(base)}", SECRET=value)

    assert value not in shown
    assert not any(piece in shown for piece in ("ev%ery", "*{|}*"))


def test_a_right_value_from_the_environment_is_not_shown_where_it_collides() -> None:
    shown = problems(
        """
version: 1
server:
  base_path: /${SECRET}
  public_url: 'https://${SECRET}.example.com'
  listen: ['unix:/${SECRET}', 'unix:/${SECRET}']
session: {cookie: {domain: other.example.com}, store: 'sqlite:///${SECRET}/x.db'}
login:
  path: /${SECRET}
  providers:
    - {id: '${SECRET}', type: users, file: a}
    - {id: '${SECRET}', type: users, file: b}
roles: {a: {inherits: ['${SECRET}']}, hidden: {inherits: ['${SECRET}']}}
upstreams: {app: http://127.0.0.1:3000}
routes:
  - {path: /${SECRET}/a, access: login, upstream: '${SECRET}'}
  - {path: /b/${SECRET}, access: login, role: '${SECRET}'}
  - {path: /b/${SECRET}, access: login, strip_prefix: '/${SECRET}', keep_headers: ['X-${SECRET}']}
identity: {headers: {X-Hidden: user.id}}
""",
        SECRET="hidden",
    )

    assert shown.count("\n") == 10
    assert "hidden" not in shown.replace("roles.hidden", "")


@given(
    st.text()
    | st.text("abc:-?[]{}&*!|>'\"%@`#,$ \n\t01")
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=5,
    ).map(yaml.dump)
)
def test_any_text_is_a_configuration_or_a_list_of_problems(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(text, "config.yaml", {})

    assert caught.value.problems


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=4,
)


@pytest.mark.parametrize("place", [place for place in PLACES if not place.startswith("version")])
@given(value=VALUES)
def test_any_value_anywhere_is_taken_or_refused(place: str, value: object) -> None:
    def put(node: object) -> object:
        if isinstance(node, dict):
            return {key: put(inner) for key, inner in node.items()}
        if isinstance(node, list):
            return [put(inner) for inner in node]
        return value if node == "X" else node

    data = yaml.safe_load(SMALLEST) | put(yaml.safe_load(place))
    with suppress(ConfigError):
        assert load(yaml.dump(data), "config.yaml", {}).upstreams


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"config\.yaml:1:1: cannot be read: No such file"):
        load_file(tmp_path / "config.yaml", {})


def test_a_file_that_is_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_bytes(SMALLEST.encode() + b"# caf\xe9\n")

    with pytest.raises(ConfigError, match=r"config\.yaml:3:6: the file is not UTF-8 text"):
        load_file(tmp_path / "config.yaml", {})


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_bytes(b"\xef\xbb\xbf" + SMALLEST.encode())

    assert load_file(tmp_path / "config.yaml", {}).upstreams


def test_the_example_loads_without_any_environment() -> None:
    example = Path(__file__).parents[2] / "config.example.yaml"

    read = load_file(example, {})

    assert read.warnings == ()
    assert read.tests


def test_sessions_are_sealed_where_there_is_a_secret() -> None:
    secret = "a secret of at least 32 characters"
    assert config("").session.encrypt is False
    assert config(f"session: {{secret: {secret}}}\n").session.encrypt is True
    assert config(f"session: {{secret: {secret}, encrypt: false}}\n").session.encrypt is False


def test_nothing_is_asked_limited_or_begun_for_visitors_unless_said() -> None:
    session = config("").session
    assert (session.anonymous, session.remember, session.max_per_user) == (
        False,
        Remember.ALWAYS,
        None,
    )
    assert session.new_token is None


def test_an_operators_function_makes_the_tokens(tmp_path: Path) -> None:
    (tmp_path / "tokens.py").write_text(
        "from itertools import count\nn = count()\n"
        "def new(): return f'token-{next(n):012d}-of-ours'\n"
    )
    read = config('session: {token: "tokens.py:new"}\n', tmp_path)
    make = read.session.new_token
    assert make is not None
    assert (make(), make()) == ("token-000000000008-of-ours", "token-000000000009-of-ours")
    # A reload sends the configuration to the workers, which load the function themselves.
    assert pickle.loads(pickle.dumps(read)).session.new_token() == "token-000000000000-of-ours"


def test_a_package_of_the_operators_makes_the_tokens() -> None:
    make = config('session: {token: "secrets:token_urlsafe"}\n').session.new_token
    assert make is not None
    assert len(str(make())) == 43


def test_a_route_shapes_its_answers_and_counts_its_requests(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("hush\n")
    read = config(
        "routes:\n"
        "  - path: /a\n"
        "    access: login\n"
        "    cors: {origins: [https://APP.example.com:443, http://b.example], credentials: true,\n"
        "      methods: [GET, PUT], headers: [Content-Type], expose: [X-Total], max_age: 10m}\n"
        "    set_headers:\n"
        "      request: {X-Key: {file: key}, X-A: b}\n"
        "      response: {Cache-Control: no-store}\n"
        "    remove_headers: {request: [Accept-Encoding], response: [Server]}\n"
        "    security_headers: {hsts: 1d, include_subdomains: true, nosniff: false,\n"
        "      frame_options: false, referrer_policy: no-referrer}\n"
        "    rate_limit: {requests: 100, per: 1m}\n"
        "  - path: /b\n"
        "    access: public\n"
        "    cors: {origins: '*'}\n"
        "    security_headers: true\n"
        "    rate_limit: {requests: 1, per: 1h}\n"
        "  - {path: /c, access: login, security_headers: false,\n"
        "     rate_limit: {requests: 5, per: 90s, by: session}}\n",
        tmp_path,
    )
    first, second, third = (route.forwarding for route in read.table.routes)

    assert first.cors == Cors(
        origins=frozenset({"https://app.example.com", "http://b.example"}),
        methods=("GET", "PUT"),
        headers=("Content-Type",),
        expose=("X-Total",),
        credentials=True,
        max_age=600,
    )
    assert first.request_headers == ShapedHeaders(
        fields=(("X-Key", "hush"), ("X-A", "b")), removed=("Accept-Encoding",)
    )
    assert first.answer_headers == ShapedHeaders(
        fields=(("Cache-Control", "no-store"),), removed=("Server",)
    )
    assert first.security_headers == SecurityHeaders(
        hsts=86400.0,
        include_subdomains=True,
        nosniff=False,
        frame_options=None,
        referrer_policy="no-referrer",
    )
    assert first.rate_limit == RateLimit(requests=100, window=60, by=CountedBy.USER)
    assert "hush" not in repr(read)
    assert second.cors == Cors(any_origin=True)
    assert second.security_headers == SecurityHeaders()
    assert second.rate_limit == RateLimit(requests=1, window=3600, by=CountedBy.ADDRESS)
    assert (third.cors, third.security_headers) == (None, None)
    assert third.rate_limit == RateLimit(requests=5, window=90, by=CountedBy.SESSION)


def test_templates_are_checked_and_found_beside_the_file(tmp_path: Path) -> None:
    folder = tmp_path / "pages"
    folder.mkdir()
    (folder / "error.html").write_text('{% extends "base.html" %}{% block main %}{{ title }}')
    with pytest.raises(ConfigError, match=r"error\.html:1:1: Unexpected end of template"):
        config("server: {templates: pages}\n", tmp_path)
    (folder / "error.html").write_text(
        "{{ title }} {% for n in range(3) %}{{ loop.index }}{% endfor %}"
    )
    assert config("server: {templates: pages}\n", tmp_path).server.templates == folder


def test_what_a_store_outage_means_is_the_route_s_to_say() -> None:
    read = config(
        "session: {on_store_outage: serve_stale 90s}\n"
        "defaults: {access: login}\n"
        "routes:\n"
        "  - {path: /usual, access: login}\n"
        "  - {path: /strict, access: optional, on_store_outage: reject}\n"
        "  - {path: /long, access: login, on_store_outage: serve_stale 5m}\n"
    )
    assert read.session.stale_for == 90.0
    assert {route.pattern: route.stale_for for route in read.table.routes} == {
        "/usual": 90.0,
        "/strict": 0.0,
        "/long": 300.0,
    }
    assert read.table.fallback.stale_for == 90.0
