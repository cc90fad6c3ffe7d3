"""The demo's configuration: an ordinary file, which people may read and copy."""

from __future__ import annotations

import secrets
from pathlib import Path

PASSWORDS = {"alice": "wonderland", "bob": "builder"}
"""No secret: they are printed at the start. Their hashes below save the start 200 ms."""

_CONFIG = """\
# Written anew by `gateway demo` at each start: copy it to change it.
version: 1

server:
  listen: 127.0.0.1:{port}
  public_url: http://localhost:{port}
  request_log: false
  drain_timeout: 1s

session:
  store: sqlite:///sessions.db
  secret: {{file: secret}}

login:
  providers:
    - {{id: local, name: Demo users, type: users, file: users.yaml}}

roles:
  user: {{permissions: [headers:read]}}
  admin: {{inherits: [user], permissions: ["*"]}}

upstreams:
  demo: http://127.0.0.1:{upstream_port}

defaults: {{access: deny, upstream: demo}}

routes:
  - {{path: /, access: optional}}
  - {{path: /static/**, access: public}}
  - {{path: /app, access: login}}
  - {{path: /chat, access: login}}
  - {{path: /ws, access: login, when_denied: json}}
  - {{path: /admin/**, access: login, role: admin}}
  - {{path: /api/**, access: login, when_denied: json}}

tests:
  - GET / as anonymous -> 200
  - GET /app as anonymous -> 302 login
  - GET /app as user=bob role=user -> 200
  - GET /admin as user=bob role=user -> 403
  - GET /admin as user=alice role=admin -> 200
  - GET /api/me as anonymous -> 401 json
  - GET /secret as user=alice role=admin -> 403
"""

_USERS = """\
users:
  alice:
    password: {alice}
    name: Alice Liddell
    email: alice@example.com
    roles: [admin]
  bob:
    password: {bob}
    name: Bob Builder
    email: bob@example.com
    roles: [user]
"""

_HASHES = {
    "alice": "$argon2id$v=19$m=65536,t=3,p=4$GcNnQ2iBzVpwPu/YgJYEWg"
    "$j0pT/UAH5bvV6VUR4YbBpOpmR2R0JJK4jZYRDe9qE5E",
    "bob": "$argon2id$v=19$m=65536,t=3,p=4$BbrZLuwChY8WjFi6cECICA"
    "$ymI5LafcbVuc6NMHC1xKgpMDM+dYs4vzW8PELhdCO+Q",
}


def write(folder: Path, *, port: int, upstream_port: int) -> Path:
    """Write all files of the demo, and return the configuration's path.

    Users and secret that are there already stay as they are, and so do the sessions: who was
    signed in still is.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _once(folder / "users.yaml", _USERS.format(**_HASHES))
    _once(folder / "secret", secrets.token_urlsafe(32) + "\n")
    config = folder / "config.yaml"
    config.write_text(_CONFIG.format(port=port, upstream_port=upstream_port), encoding="utf-8")
    return config


def _once(path: Path, text: str) -> None:
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(text, encoding="utf-8")
