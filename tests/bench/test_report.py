"""The benchmark's table says what was measured, and what was not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.report import BEGIN, END, table, write

TITLES = {"nginx": "nginx", "envoy": "Envoy", "gateway": "the gateway"}


def rows(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()[2:]]


def test_figures_are_medians_with_ratios_of_medians() -> None:
    figures = {"nginx": [10.0, 12.0, 11.0], "envoy": [44.0], "gateway": [40.0, 33.0, 30.0]}
    assert rows(table(TITLES, figures, {})) == [
        ["nginx", "11.0", "10.0–12.0", "1.00", "0.25"],
        ["Envoy", "44.0", "44.0–44.0", "4.00", "1.00"],
        ["the gateway", "33.0", "30.0–40.0", "3.00", "0.75"],
    ]


def test_a_peer_that_is_missing_is_a_gap_with_a_name() -> None:
    figures = {"nginx": [10.0], "envoy": [], "gateway": [40.0]}
    assert rows(table(TITLES, figures, {"envoy": "not installed (pip install x)"})) == [
        ["nginx", "10.0", "10.0–10.0", "1.00", "–"],
        ["Envoy", "not measured: not installed (pip install x)", "", "", ""],
        ["the gateway", "40.0", "40.0–40.0", "4.00", "–"],
    ]


def test_a_page_keeps_all_that_stands_around_the_table(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text(f"# Before\n{BEGIN}\nold\n{END}\nafter\n")
    write(page, "new")
    write(page, "newer")
    assert page.read_text() == f"# Before\n{BEGIN}\n\nnewer\n\n{END}\nafter\n"


def test_a_page_without_markers_is_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text("mine\n")
    with pytest.raises(SystemExit, match="bench:begin"):
        write(page, "new")
    assert page.read_text() == "mine\n"
