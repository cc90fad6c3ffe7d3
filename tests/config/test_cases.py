"""Every mistake has its exact message: ``cases/*.txt`` hold input, a line of dashes, output."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config.load import load
from gateway.errors import ConfigError

HERE = Path(__file__).parent
CASES = sorted((HERE / "cases").glob("*.txt"))
DASHES = "----------\n"
PASSWORD = "correct-horse-battery-staple"
ENVIRONMENT = {"PASSWORD": PASSWORD}
NEVER_SHOWN = (PASSWORD, "hunter2", "whispered-to-nobody-else")


def outcome(text: str) -> str:
    """Return what ``gateway check`` would print, were the text in ``files/config.yaml``."""
    try:
        config = load(text, "config.yaml", ENVIRONMENT)
    except ConfigError as error:
        return f"{error}\n"
    return "".join(f"warning: {warning}\n" for warning in config.warnings)


@pytest.fixture(autouse=True)
def _beside_the_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(HERE / "files")


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
def test_message(case: Path) -> None:
    text, expected = case.read_text().split(DASHES)

    assert outcome(text) == expected


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
def test_a_case_names_a_fault_and_shows_no_secret(case: Path) -> None:
    expected = case.read_text().split(DASHES)[1]

    assert expected.strip()
    assert not any(secret in expected for secret in NEVER_SHOWN)
