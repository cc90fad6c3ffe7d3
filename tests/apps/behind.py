"""An app that runs behind a gateway which signs people in for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.apps.running import App
from tests.gateway_process import GatewayProcess

PASSWORD = "correct horse"
CONFIG = """\
version: 1
server: {listen: "127.0.0.1:${PORT}", admin: "127.0.0.1:${ADMIN_PORT}"}
session:
  strategy: jwt
  format: ${FORMAT}
  secret: ${SECRET}
  store: sqlite:///sessions.db
  update_age: 1s
  accept:
    - type: iron-session
      version: 8
      cookie: iron_session
      password: ${IRON}
      id_prefix: "iron:"
login:
  path: /api/auth
  providers: [{id: local, type: users, file: users.yaml, id_prefix: ""}]
upstreams: {app: "${UPSTREAM}", other: "${UPSTREAM}"}
defaults: {access: optional, upstream: app}
routes:
  - {path: /profile, access: login}
  - {path: /api/echo/login, access: login}
  - {path: /open/**, access: public, strip_prefix: /open}
  - {path: /other/**, access: optional, upstream: other, strip_prefix: /other}
  - {path: /admin, access: login, role: admin}
"""
USERS = {
    "ada": {"name": "Ada Lovelace", "email": "ada@example.com", "roles": ["admin", "editor"]},
    "taro": {"name": "山田 太郎 👩🏽‍🚀", "roles": []},
    "big": {"name": "Big", "roles": [f"role-{number}" for number in range(400)]},
}


@dataclass(frozen=True)
class Behind:
    """Both of them."""

    app: App
    gateway: GatewayProcess
    cookie: str
    """The name of the session's."""


Start = Callable[[str], Behind]
