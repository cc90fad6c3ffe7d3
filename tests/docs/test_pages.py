"""What the documentation shows works as shown, and what it names is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway.config.load import load_file
from gateway.rules.identity import PRESETS
from gateway.server.explain import failed_tests

ROOT = Path(__file__).parent.parent.parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
SECURITY = ROOT / "docs" / "security.md"
HASH = (
    "$argon2id$v=19$m=65536,t=3,p=4"
    "$bquulfJdQPKDEcVnexrS2Q$KdgvjnEuj/eMdt4MMmKqrjfW1n5+J4Hfpw93mOLZDPQ"
)
SECRET = "a secret of the app, 32 characters"

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def blocks(page: Path, language: str) -> list[str]:
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives a page's headings."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file), target


@each_page
def test_configurations_are_valid_and_decide_as_their_tests_say(page: Path, tmp_path: Path) -> None:
    yaml = [re.sub(r"\$argon2id\S+…", HASH, block) for block in blocks(page, "yaml")]
    for users in (block for block in yaml if block.startswith("users:")):
        (tmp_path / "users.yaml").write_text(users, encoding="utf-8")
    for config in (block for block in yaml if block.startswith("version:")):
        (tmp_path / "config.yaml").write_text(config, encoding="utf-8")
        named = re.findall(r"\$\{([A-Z_]+)\}", config)
        loaded = load_file(tmp_path / "config.yaml", dict.fromkeys(named, SECRET))
        assert loaded.warnings == ()
        assert loaded.tests
        assert failed_tests(loaded) == []


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", ROOT / "docs" / "upstream-headers.md"], ids=lambda page: page.name
)
def test_every_header_of_the_preset_is_named(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert [name for name in PRESETS["gateway"] if f"`{name}`" not in text] == []


def test_python_that_is_shown_is_python() -> None:
    shown = [block for page in PAGES for block in blocks(page, "python")]
    assert shown
    for block in shown:
        compile(block, "documentation", "exec")


def named_tests() -> list[str]:
    return re.findall(r"`(tests/[^`]+)`", SECURITY.read_text(encoding="utf-8"))


def test_every_threat_has_a_test() -> None:
    rows = [
        line.split(" | ")
        for line in SECURITY.read_text(encoding="utf-8").splitlines()
        if line.startswith("| ") and not line.startswith(("| Threat ", "| --- "))
    ]
    assert len(rows) > 30
    assert [row[0] for row in rows if len(row) != 3 or "`tests/" not in row[2]] == []


@pytest.mark.parametrize("name", sorted(set(named_tests())))
def test_a_test_that_is_named_exists(name: str) -> None:
    file, _, function = name.partition("::")
    source = (ROOT / file).read_text(encoding="utf-8")
    assert re.search(rf"^ *(async )?def {re.escape(function)}\(", source, re.MULTILINE), name
