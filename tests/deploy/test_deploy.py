"""What lies in deploy/ fits together, and fits the gateway."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import urllib.request
from configparser import RawConfigParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.servers import free_port, listens, program, wait_for

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


UNITS = ("session-gateway.service", "session-gateway.socket")


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """Return a folder with the units, as they would be with the gateway installed here."""
    for name in UNITS:
        text = (DEPLOY / name).read_text()
        installed = text.replace("/opt/session-gateway/bin", str(Path(sys.executable).parent))
        (tmp_path / name).write_text(installed)
    return tmp_path


def verified(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [program("systemd-analyze", "systemd"), "verify", "--man=no", "--recursive-errors=no"]
    files = [str(folder / name) for name in UNITS]
    return subprocess.run([*command, *files], capture_output=True, text=True, check=False)


def test_systemd_understands_every_line_of_the_units(units: Path) -> None:
    done = verified(units)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", UNITS)
def test_a_line_that_systemd_does_not_understand_would_be_noticed(units: Path, name: str) -> None:
    unit = units / name
    section = "[Service]" if name.endswith("service") else "[Socket]"
    unit.write_text(unit.read_text().replace(section, f"{section}\nNoSuchKey=yes"))
    done = verified(units)
    assert done.returncode == 1
    assert "NoSuchKey" in done.stderr


def test_the_readme_has_the_steps_for_the_socket() -> None:
    readme = (DEPLOY / "README.md").read_text()
    assert "listen: systemd" in readme
    assert "deploy/session-gateway.socket /etc/systemd/system/" in readme
    assert "systemctl enable --now session-gateway.socket" in readme


def test_what_systemd_listens_on_is_served(units: Path, tmp_path: Path) -> None:
    """As the socket unit has it: systemd listens, and starts the service for the first client."""
    socket_unit = RawConfigParser(strict=False)
    socket_unit.optionxform = str  # type: ignore[method-assign, assignment]
    socket_unit.read(units / "session-gateway.socket")
    host, _, usual = socket_unit["Socket"]["ListenStream"].rpartition(":")
    assert (host, usual) == ("127.0.0.1", "8080")
    port = free_port()
    config = tmp_path / "config.yaml"
    config.write_text(
        f"version: 1\nserver: {{listen: systemd, public_url: http://localhost:{port}}}\n"
        "session: {store: memory://}\nupstreams: {app: http://127.0.0.1:1}\n"
        "routes: [{path: /**, access: public}]\n"
    )
    gateway = str(Path(sys.executable).parent / "gateway")
    command = [program("systemd-socket-activate", "systemd"), "-l", f"{host}:{port}"]
    command += ["--fdname=session-gateway.socket", gateway, "run", "-c", str(config)]
    for name in ("PYTHONPATH", "PATH"):
        command[1:1] = ["-E", name] if name in os.environ else []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        try:
            wait_for(lambda: listens(port), what="systemd listens")
            with urllib.request.urlopen(
                f"http://{host}:{port}/_gateway/health", timeout=15
            ) as found:
                assert found.status == 200
        finally:
            process.terminate()
    assert process.returncode == 0
