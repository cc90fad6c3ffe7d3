"""The benchmark's tables say what was measured, and what was not."""

from __future__ import annotations

from collections.abc import Sequence
from math import nan
from pathlib import Path

import pytest

from tests.bench.report import BEGIN, END, Line, table, write


def line(
    proxy: str, figures: Sequence[float], *, load: str = "", goal: str = "", gap: str = ""
) -> Line:
    return Line(load=load, proxy=proxy, title=proxy, figures=figures, goal=goal, gap=gap)


def rows(*lines: Line) -> list[list[str]]:
    text = table("µs", lines)
    return [[cell.strip() for cell in row.split("|")[1:-1]] for row in text.splitlines()]


def test_figures_are_medians_with_ratios_of_medians() -> None:
    assert rows(
        line("nginx", [10.0, 12.0, 11.0]),
        line("envoy", [44.0]),
        line("gateway", [40.0, 33.0, 30.0]),
    ) == [
        ["Proxy", "µs", "min–max", "× nginx", "× Envoy"],
        ["---", "---:", "---:", "---:", "---:"],
        ["nginx", "11.0", "10.0–12.0", "1.00", "0.25"],
        ["envoy", "44.0", "44.0–44.0", "4.00", "1.00"],
        ["gateway", "33.0", "30.0–40.0", "3.00", "0.75"],
    ]


def test_ratios_are_to_the_same_load() -> None:
    assert rows(
        line("nginx", [10.0], load="down"),
        line("gateway", [20.0], load="down"),
        line("nginx", [100.0], load="up"),
        line("gateway", [150.0], load="up"),
    )[2:] == [
        ["down: nginx", "10.0", "10.0–10.0", "1.00", "–"],
        ["down: gateway", "20.0", "20.0–20.0", "2.00", "–"],
        ["up: nginx", "100.0", "100.0–100.0", "1.00", "–"],
        ["up: gateway", "150.0", "150.0–150.0", "1.50", "–"],
    ]


def test_a_goal_stands_beside_the_figure() -> None:
    assert rows(line("nginx", [10.0]), line("gateway", [20.0], goal="≤ 2.5 × nginx")) == [
        ["Proxy", "µs", "min–max", "× nginx", "× Envoy", "goal"],
        ["---", "---:", "---:", "---:", "---:", "---"],
        ["nginx", "10.0", "10.0–10.0", "1.00", "–", ""],
        ["gateway", "20.0", "20.0–20.0", "2.00", "–", "≤ 2.5 × nginx"],
    ]


def test_a_peer_that_is_missing_is_a_gap_with_a_name() -> None:
    assert rows(
        line("nginx", [10.0]),
        line("envoy", [], gap="not installed (pip install x)"),
        line("gateway", [40.0]),
    )[2:] == [
        ["nginx", "10.0", "10.0–10.0", "1.00", "–"],
        ["envoy", "not measured: not installed (pip install x)", "", "", ""],
        ["gateway", "40.0", "40.0–40.0", "4.00", "–"],
    ]


def test_what_else_was_measured_has_columns_without_ratios() -> None:
    lines = [
        Line(load="", proxy="nginx", title="nginx", figures=[10.0], more=[[nan], [nan]]),
        Line(
            load="",
            proxy="gateway",
            title="gateway",
            figures=[30.0, 20.0, 40.0],
            goal="≤ 3 × nginx",
            more=[[2.5, 2.0, 3.0], [25_000.4, 30_000.0, 20_000.0]],
        ),
        line("other", [], gap="no server"),
    ]
    text = table("µs", lines, peers=("nginx",), more=("store's µs", "requests"))
    assert [[cell.strip() for cell in row.split("|")[1:-1]] for row in text.splitlines()] == [
        ["Proxy", "µs", "min–max", "× nginx", "store's µs", "requests", "goal"],
        ["---", "---:", "---:", "---:", "---:", "---:", "---"],
        ["nginx", "10.0", "10.0–10.0", "1.00", "–", "–", ""],
        ["gateway", "30.0", "20.0–40.0", "3.00", "2.50", "25,000", "≤ 3 × nginx"],
        ["other", "not measured: no server", "", "", "", "", ""],
    ]


def test_a_page_keeps_all_that_stands_around_the_tables(tmp_path: Path) -> None:
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
