"""Gateways that sign people in for an app behind them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.apps.behind import CONFIG, PASSWORD, USERS, Behind, Start
from tests.apps.running import IRON_PASSWORD, SECRET, auth_js, next_js
from tests.gateway_process import GatewayProcess, cheap_hash


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    known: dict[str, Behind] = {}
    with ExitStack() as stack:

        def start(framework: str) -> Behind:
            if framework not in known:
                folder: Path = tmp_path_factory.mktemp("gateway")
                hashed = cheap_hash(PASSWORD)
                users = {name: {**user, "password": hashed} for name, user in USERS.items()}
                text = json.dumps({"users": users}, ensure_ascii=False)
                (folder / "users.yaml").write_text(text, encoding="utf-8")
                gateway = GatewayProcess(
                    folder, CONFIG, FORMAT=framework, SECRET=SECRET, IRON=IRON_PASSWORD
                )
                make = next_js if framework == "nextauth" else auth_js
                app = stack.enter_context(make(gateway.origin))
                gateway.environment["UPSTREAM"] = app.url
                stack.enter_context(gateway)
                prefix = "next-auth" if framework == "nextauth" else "authjs"
                known[framework] = Behind(app, gateway, f"{prefix}.session-token")
            return known[framework]

        yield start
