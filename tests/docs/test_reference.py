"""What the documentation takes from the code is what the code says."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from gateway.config import (
    accept_settings,
    route_settings,
    server_settings,
    shaping_settings,
    upstream_settings,
    users_file,
)
from gateway.config import settings as top
from gateway.config.durations import parse_duration
from gateway.config.users_file import UserSettings
from tools.reference import NOTHING, PAGES, described, parts, renewed, settings

MODULES = (
    top,
    accept_settings,
    server_settings,
    upstream_settings,
    route_settings,
    shaping_settings,
    users_file,
)
UNSHOWN = {
    "Settings": "its keys are the sections of the page",
    "UsersSettings": "it has one key",
    "PresetSettings": "said where its one key may stand",
}


def models() -> dict[str, type[BaseModel]]:
    return {
        name: model
        for module in MODULES
        for name, model in vars(module).items()
        if name.endswith("Settings") and model.__module__ == module.__name__
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_are_up_to_date(page: Any) -> None:
    text = page.read_text(encoding="utf-8")
    assert text == renewed(text), "run `make docs`"


def test_every_setting_has_its_place() -> None:
    shown = [name for page in PAGES for name in parts(page.read_text(encoding="utf-8"))]
    assert len(shown) == len(set(shown))
    assert set(shown) >= settings().keys() - UNSHOWN.keys()
    assert settings().keys() == models().keys()


@pytest.mark.parametrize(
    ("model", "name"),
    [(model, field.name) for model in settings() for field in settings()[model]],
)
def test_every_setting_says_what_it_means_and_what_holds_without_it(model: str, name: str) -> None:
    if model in UNSHOWN:
        return
    [field] = [field for field in settings()[model] if field.name == name]
    fields = models()[model].model_fields.items()
    [known] = [each for own, each in fields if name in (own, each.alias)]
    said, meaning = described(field)
    assert meaning
    assert (said == "required") == known.is_required()
    if said in ("required", NOTHING):
        return
    plain = said.replace("`", "")
    match known.default:
        case bool() as flag:
            assert plain == str(flag).lower()
        case float() as seconds if plain[0].isdigit():
            assert parse_duration(plain.partition(",")[0]) == seconds
        case () | None:
            assert plain
        case str() as text:
            assert plain == text


def test_a_page_made_from_other_code_is_seen_to_be_old() -> None:
    page = "above\n<!-- reference: UserSettings -->\nold\n<!-- end -->\nbelow\n"
    new = renewed(page)
    assert new.startswith("above\n<!-- reference: UserSettings -->\n\n| Key |")
    assert new.endswith(" |\n\n<!-- end -->\nbelow\n")
    assert all(f"| `{name}` |" in new for name in UserSettings.model_fields)
    assert renewed(new) == new
