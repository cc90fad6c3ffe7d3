"""What lies in deploy/ fits together, and fits the gateway."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from configparser import RawConfigParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.servers import free_port, program, wait_for

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
SECRETS = {"GATEWAY_SECRET": "s" * 64, "REDIS_PASSWORD": "p" * 64}


@pytest.fixture
def compose() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return content


def instructions() -> list[list[str]]:
    """Return the Dockerfile's lines, continued ones joined, each split at spaces."""
    text = re.sub(r"^\s*#.*\n", "", (DEPLOY / "Dockerfile").read_text(), flags=re.MULTILINE)
    return [line.split() for line in text.replace("\\\n", " ").splitlines() if line.strip()]


def test_the_configuration_is_valid_and_its_policy_tests_pass() -> None:
    gateway = Path(sys.executable).parent / "gateway"
    done = subprocess.run(
        [gateway, "check", "-c", DEPLOY / "config/config.yaml"],
        env={**os.environ, **SECRETS},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert not any(secret in done.stdout for secret in SECRETS.values())


def test_compose_refers_to_what_exists(compose: dict[str, Any]) -> None:
    gateway = compose["services"]["gateway"]
    context = DEPLOY / gateway["build"]["context"]
    assert (context / gateway["build"]["dockerfile"]).samefile(DEPLOY / "Dockerfile")
    source, target, mode = gateway["volumes"][0].split(":")
    assert (DEPLOY / source / "config.yaml").is_file()
    assert f"{target}/config.yaml" in (DEPLOY / "Dockerfile").read_text()
    assert mode == "ro"
    for service in compose["services"].values():
        assert set(service["networks"]) <= compose["networks"].keys()


def test_compose_gives_the_gateway_every_variable_its_configuration_asks_for(
    compose: dict[str, Any],
) -> None:
    asked = set(re.findall(r"\$\{(\w+)", (DEPLOY / "config/config.yaml").read_text()))
    assert asked == compose["services"]["gateway"]["environment"].keys()


def test_compose_publishes_the_gateway_alone_and_only_to_this_host(
    compose: dict[str, Any],
) -> None:
    published = {name: s["ports"] for name, s in compose["services"].items() if "ports" in s}
    assert published == {"gateway": ["127.0.0.1:8080:8080"]}
    assert compose["networks"]["inside"] == {"internal": True}


def test_compose_holds_no_secret_of_its_own(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        for name, value in service.get("environment", {}).items():
            if name != "PUBLIC_URL":
                assert re.fullmatch(r"\$\{\w+:\?.+\}", value), name


def test_redis_starts_as_compose_says_and_wants_the_password(
    compose: dict[str, Any], tmp_path: Path
) -> None:
    shell, option, script = compose["services"]["redis"]["command"]
    port = free_port()
    # A container has /data and port 6379 to itself; $$ is how compose writes $.
    script = script.replace("$$", "$").replace("dir /data", f"dir {tmp_path}\nport {port}")
    path = f"{Path(program('redis-server', 'redis-server')).parent}:{os.environ['PATH']}"
    environment = {"PATH": path, "REDISCLI_AUTH": SECRETS["REDIS_PASSWORD"]}
    client = [program("redis-cli", "redis-tools"), "-p", str(port), "ping"]

    def ping(env: dict[str, str]) -> str:
        return subprocess.run(client, env=env, capture_output=True, text=True, check=False).stdout

    with subprocess.Popen([shell, option, script], env=environment, stdout=subprocess.DEVNULL) as p:
        try:
            wait_for(lambda: ping(environment).strip() == "PONG", what="redis answers")
            assert ping({"PATH": path}).startswith("NOAUTH")
            command_line = Path(f"/proc/{p.pid}/cmdline")
            if command_line.exists():  # not on macOS
                assert SECRETS["REDIS_PASSWORD"] not in command_line.read_text()
        finally:
            p.terminate()
    assert p.returncode == 0  # the shell has made room: SIGTERM reaches Redis itself


def test_the_image_copies_what_exists_and_what_the_ignore_file_lets_through() -> None:
    allowed = {
        line.removeprefix("!")
        for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    copied = {
        source
        for name, *rest in instructions()
        if name == "COPY" and not rest[0].startswith("--from")
        for source in rest[:-1]
    }
    assert copied == allowed
    assert {source for source in copied if not (ROOT / source).exists()} == set()


def test_the_image_checks_hashes_and_does_not_run_as_root() -> None:
    lines = instructions()
    assert any(line[0] == "RUN" and "--require-hashes" in line for line in lines)
    last_user = [line[1] for line in lines if line[0] == "USER"][-1]
    assert last_user == "gateway"


def test_the_health_check_asks_where_the_admin_listener_is() -> None:
    config = yaml.safe_load((DEPLOY / "config/config.yaml").read_text())
    check = next(line for line in instructions() if line[0] == "HEALTHCHECK")
    assert f"http://{config['server']['admin']}/healthz" in " ".join(check)


def test_the_unit_starts_what_the_readme_installs() -> None:
    unit = RawConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[method-assign, assignment]
    unit.read(DEPLOY / "session-gateway.service")
    program_path, *arguments = shlex.split(unit["Service"]["ExecStart"])
    readme = (DEPLOY / "README.md").read_text()
    assert program_path.removesuffix("/gateway") + "/pip install" in readme
    assert arguments == ["run", "-c", "/etc/session-gateway/config.yaml"]
    name, source = unit["Service"]["LoadCredential"].split(":")
    assert f"> {source}" in readme
    assert f'{{file: "${{CREDENTIALS_DIRECTORY:-/etc/session-gateway}}/{name}"}}' in readme
    assert f"sqlite:////var/lib/{unit['Service']['StateDirectory']}/" in readme
