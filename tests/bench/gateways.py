"""The gateway as it is measured: each configuration that has a row of its own."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.bench.measure import Proxy, Unusable, program
from tests.bench.peers import BROWSER
from tests.servers import free_port


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """What distinguishes one row from the others."""

    path: str = "/app/page"
    routes: int = 50
    redis: bool = False
    cache: bool = True
    request_log: bool = False


def gateway(folder: Path, upstream_port: int, redis_url: str, shape: Gateway) -> Proxy:
    """Write a configuration, sign somebody in, and say how to start the gateway with it."""
    port = free_port()
    file = folder / "config.yaml"
    file.write_text(_config(port, upstream_port, redis_url, shape))
    command = program("gateway", "make run")
    public = shape.path.startswith("/public")
    cookie = _session(command, file)
    return Proxy(
        command=[command, "run", "-c", str(file)],
        folder=folder,
        url=f"http://127.0.0.1:{port}{shape.path}",
        headers={**BROWSER, "Cookie": f"theme=dark; {cookie}"},
        echo_url=f"http://127.0.0.1:{port}{shape.path}/echo",
        echo=" " if public else "ada member,reader",
    )


def _config(port: int, upstream_port: int, redis_url: str, shape: Gateway) -> str:
    others = "\n".join(
        f"  - {{path: /section{number}/**, access: login, role: member}}"
        for number in range(shape.routes - 3)
    )
    return f"""
version: 1
server:
  listen: 127.0.0.1:{port}
  request_log: {str(shape.request_log).lower()}
session:
  store: {redis_url if shape.redis else "sqlite:///sessions.db"}
  cache: {str(shape.cache).lower()}
upstreams:
  app: http://127.0.0.1:{upstream_port}
defaults: {{access: deny, upstream: app}}
routes:
  - {{path: /public/**, access: public}}
  - {{path: /signed-in/**, access: login}}
  - {{path: /app/**, access: login, role: member}}
{others}
"""


def _session(command: str, file: Path) -> str:
    """Return ``name=value`` of a new session's cookie."""
    call = [command, "sessions", "create", "-c", str(file), "--user", "ada", "--name", "Ada"]
    call += ["--email", "ada@example.com", "--role", "member", "--role", "reader", "--json"]
    done = subprocess.run(call, check=False, capture_output=True, text=True, timeout=30)
    if done.returncode != 0:
        raise Unusable(f"gateway sessions create: {done.stderr.strip()[-500:]}")
    cookie: str = json.loads(done.stdout)["cookie"]
    return cookie
