"""What a YAML text says, and where."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.source import MAX_ALIASED, Source, read_source
from gateway.errors import ConfigError

LOADERS = [
    pytest.param(yaml.CSafeLoader, id="libyaml"),
    pytest.param(yaml.SafeLoader, id="pure"),
]


def source(text: str, **env: str) -> Source:
    return read_source(text, "f.yaml", env)


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("true", True),
        ("false", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("0", 0),
        ("-7", -7),
        ("8080", 8080),
        ("007", "007"),
        ("1_000", "1_000"),
        ("0x1F", "0x1F"),
        ("1.5", "1.5"),
        ("1e3", "1e3"),
        (".inf", ".inf"),
        ("9" * 30, "9" * 30),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("off", "off"),
        ("True", "True"),
        ("12:30:00", "12:30:00"),
        ("2026-11-20", "2026-11-20"),
        ("=", "="),
        ("'true'", "true"),
        ('"8080"', "8080"),
        ("''", ""),
    ],
)
def test_only_true_false_null_and_whole_numbers_are_not_text(
    written: str, read: object, loader: type[Any]
) -> None:
    data = read_source(f"key: {written}\n", "f.yaml", {}, loader=loader).data["key"]

    assert (data, type(data)) == (read, type(read))


@pytest.mark.parametrize("loader", LOADERS)
def test_positions_of_keys_and_values_count_from_one(loader: type[Any]) -> None:
    text = "a: 1\nroutes:\n  - path: /x\n    users: [bob, 'é', \"eve\"]\n  - {path: /y}\n"

    read = read_source(text, "f.yaml", {}, loader=loader)

    assert read.keys[("routes",)] == (2, 1)
    assert read.values[("routes",)] == (3, 3)
    assert read.keys[("routes", 0, "path")] == (3, 5)
    assert read.values[("routes", 0, "path")] == (3, 11)
    assert read.values[("routes", 0, "users", 2)] == (4, 23)
    assert read.values[("routes", 1)] == (5, 5)
    assert read.keys[("routes", 1, "path")] == (5, 6)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("k: ${A}", "one", id="plain"),
        pytest.param("k: '${A}'", "one", id="quoted"),
        pytest.param("k: pre-${A}-${B}", "pre-one-two", id="several"),
        pytest.param("k: ${NONE:-x y}", "x y", id="default"),
        pytest.param("k: ${NONE:-}", "", id="empty default"),
        pytest.param("k: ${EMPTY:-x}", "x", id="default for empty"),
        pytest.param("k: ${EMPTY}", "", id="empty"),
        pytest.param("k: $${A}", "${A}", id="literal"),
        pytest.param("k: $A", "$A", id="no braces"),
        pytest.param("k: ${NUMBER}", "8080", id="stays text"),
        pytest.param("k: ${YAML}", "{a: ${A}}", id="a value is not looked into"),
    ],
)
def test_the_environment_is_filled_in(text: str, expected: str) -> None:
    read = source(text, A="one", B="two", EMPTY="", NUMBER="8080", YAML="{a: ${A}}")

    assert read.data == {"k": expected}


def test_flow_style_does_not_take_references_and_hashes_apart() -> None:
    read = source("k: {a: ${A}, b: $x$v=19$m=65536,t=3,p=4$salt, c: [${B:-x}, $${A}]}\n", A="one")

    assert read.data["k"] == {"a": "one", "b": "$x$v=19$m=65536,t=3,p=4$salt", "c": ["x", "${A}"]}


def test_without_an_environment_text_stands_as_it_is() -> None:
    assert read_source("k: ${A}\n", "f.yaml", None).data == {"k": "${A}"}


def test_aliases_repeat_values() -> None:
    assert source("a: &x {b: [1, 2]}\nc: *x\n").data == {"a": {"b": [1, 2]}, "c": {"b": [1, 2]}}


def test_aliases_are_bounded() -> None:
    fits = "a: &x [" + "y, " * 99 + "]\nb: [" + "*x, " * (MAX_ALIASED // 100) + "]\n"

    assert len(source(fits).data["b"]) == MAX_ALIASED // 100
    with pytest.raises(ConfigError, match="aliases repeat more than"):
        source(fits + "c: *x\n")


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize(
    "text",
    [
        pytest.param("a: " + "[" * 300_000, id="flow"),
        pytest.param("- " * 300_000, id="block"),
        pytest.param("? " * 300_000, id="keys"),
    ],
)
def test_depth_is_bounded(text: str, loader: type[Any]) -> None:
    with pytest.raises(ConfigError):
        read_source(text, "f.yaml", {}, loader=loader)


def test_a_source_does_not_show_its_data() -> None:
    assert "hunter2" not in repr(source("password: ${P}\nother: hunter2\n", P="hunter2"))


@pytest.mark.parametrize("loader", LOADERS)
@given(text=st.text() | st.text("abc:-?[]{}&*!|>'\"%@`#,$ \n\t01"))
def test_any_text_is_read_or_refused(text: str, loader: type[Any]) -> None:
    with suppress(ConfigError):
        assert isinstance(read_source(text, "f.yaml", {}, loader=loader).data, dict)
