"""Who asks: users with sessions in a store that all gateways here share."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from tests.faults.load import User
from tests.gateway_process import GatewayProcess

CONFIG = """\
version: 1
server: {listen: "127.0.0.1:${PORT}"}
session: {store: "${STORE}"}
upstreams: {app: "http://127.0.0.1:1"}
defaults: {access: deny, upstream: app}
routes: []
"""


class SignedIn(NamedTuple):
    store: str
    users: tuple[User, ...]


@pytest.fixture(scope="package")
def signed_in(tmp_path_factory: pytest.TempPathFactory) -> SignedIn:
    folder: Path = tmp_path_factory.mktemp("sessions")
    store = f"sqlite:///{folder}/sessions.db"
    gateway = GatewayProcess(folder, CONFIG, STORE=store)  # never started
    names = ("ada", "bob", "cy")
    return SignedIn(store, tuple(User(name, gateway.sign_in(name).cookie) for name in names))
