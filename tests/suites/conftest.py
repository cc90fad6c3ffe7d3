"""The gateway and the upstream that ``tests/integration`` has: one a module, by its ``CONFIG``."""

from __future__ import annotations

from tests.integration.conftest import (
    environment,
    gateway,
    running_gateway,
    running_upstream,
    upstream,
)

__all__ = ["environment", "gateway", "running_gateway", "running_upstream", "upstream"]
