"""The pages of ``docs/guides``, as somebody follows them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import yaml

from tests.gateway_process import GatewayProcess
from tests.integration.browser import Visitor

GUIDES = Path(__file__).parent.parent.parent / "docs" / "guides"
_GATEWAY, _APP, _REDIS = "8080", "3000", "6379"
"""Ports that the pages use."""


class Guide:
    """One page."""

    def __init__(self, name: str) -> None:
        self.text = (GUIDES / f"{name}.md").read_text(encoding="utf-8")

    def config(self, holding: str) -> str:
        """Return the configuration with this text in it."""
        [found] = [block for block in self._blocks("version:") if holding in block]
        return found

    def users(self, password_hash: str) -> str:
        """Return the users file, with a hash where the page leaves it out."""
        [found] = self._blocks("users:")
        return re.sub(r"\$argon2id\S+…", password_hash, found)

    def checks(self) -> Iterable[tuple[str, int]]:
        """Return the addresses that it lets the reader try, and what is to come back."""
        found = re.findall(
            rf"^curl .* http://localhost:{_GATEWAY}(/\S*) +# (\d+)$", self.text, re.M
        )
        assert len(found) > 2
        return [(path, int(status)) for path, status in found]

    def _blocks(self, beginning: str) -> list[str]:
        blocks = re.findall(r"^```yaml\n(.*?)^```$", self.text, re.MULTILINE | re.DOTALL)
        return [block for block in blocks if block.startswith(beginning)]


def gateway_of(folder: Path, config: str, **environment: str) -> GatewayProcess:
    """Return a gateway with a page's configuration, which listens where it is free."""
    gateway = GatewayProcess(folder, config, **environment)
    gateway.rewrite(moved(config, {_GATEWAY: gateway.port}))
    return gateway


def use(gateway: GatewayProcess, *, app: int, redis: int = 0) -> None:
    """Let the gateway find the app, and the app's Redis, where they are."""
    text = gateway.config.read_text(encoding="utf-8")
    gateway.rewrite(moved(text, {_APP: app, _REDIS: redis}))
    assert yaml.safe_load(gateway.config.read_text(encoding="utf-8"))["version"] == 1


def moved(text: str, ports: Mapping[str, int]) -> str:
    """Return a configuration with other ports."""
    for known, port in ports.items():
        text = re.sub(rf"((?:localhost|127\.0\.0\.1):){known}\b", rf"\g<1>{port}", text)
    return text


def try_out(guide: Guide, gateway: GatewayProcess) -> None:
    """Do what the page says to do from another terminal."""
    for path, status in guide.checks():
        page = Visitor(gateway.port).ask("GET", path, None, {"Accept": "*/*"})
        assert (path, page.status) == (path, status)
