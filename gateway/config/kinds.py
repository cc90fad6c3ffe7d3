"""Kinds of values that settings are made of, for pydantic."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator

from gateway.config import addresses, names
from gateway.config.config import Listener
from gateway.config.durations import parse_duration, parse_outage, parse_period, parse_size
from gateway.model import Network, Target

_MOST_WORKERS = 256


class Strict(BaseModel):
    """Frozen; an unknown key is a fault. Its ``repr`` shows no value: it may be a secret."""

    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)

    def __repr_args__(self) -> list[tuple[str | None, Any]]:
        """Return nothing."""
        return []


def _given(value: object) -> object:
    if value is None:
        raise ValueError("there is no value: give one, or leave the key out")
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool) and value not in ("true", "false"):  # text: from ${NAME}
        raise ValueError("expected true or false")
    return value is True or value == "true"


def _one(value: object) -> int:
    if isinstance(value, bool) or value not in (1, "1"):
        raise ValueError("expected 1")
    return 1


def _count(value: object) -> int:
    text = str(value)
    if isinstance(value, bool) or not (text.isascii() and text.isdecimal() and int(text)):
        raise ValueError("expected a whole number above zero")
    return int(text)


def _workers(value: object) -> int | Literal["auto"]:
    if value == "auto":
        return "auto"
    try:
        number = _count(value)
    except ValueError:
        number = 0
    if not 1 <= number <= _MOST_WORKERS:
        raise ValueError(f"expected a number from 1 to {_MOST_WORKERS}, or auto")
    return number


def _file_mode(value: object) -> int:
    if isinstance(value, bool) or not re.fullmatch("0?[0-7]{3}", str(value)):
        raise ValueError('expected permissions such as "0660"')
    return int(str(value), 8)


def _one_or_list(value: object) -> object:
    return [value] if isinstance(value, str | int) and not isinstance(value, bool) else value


def _one_or_list_of_mappings(value: object) -> object:
    return [value] if isinstance(value, dict) else _one_or_list(value)


def _some(text: str) -> str:
    if not text.strip():
        raise ValueError("expected text that is not empty")
    return text


def _from_text(parse: Callable[[str], Any]) -> PlainValidator:
    def parsed(value: object) -> Any:
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise ValueError("expected text")
        return parse(str(value))

    return PlainValidator(parsed)


def _switch(value: object) -> object:
    if value is True:
        raise ValueError("expected false or a value")
    return False if value == "false" else value


def _off(value: object) -> object:
    return None if value in (False, "false") else _given(value)


Off = BeforeValidator(_off)
"""For a whole section that ``false`` turns off."""
Switchable = BeforeValidator(_switch)
"""For a value that ``false`` turns off."""
Given = BeforeValidator(_given)
"""For a key that may be left out, but not left empty: an empty rule must not read as no rule."""
OneOrMany = BeforeValidator(_one_or_list)
OneOrManyMappings = BeforeValidator(_one_or_list_of_mappings)
Filled = Field(min_length=1)

One = Annotated[Literal[1], PlainValidator(_one)]
Flag = Annotated[bool, PlainValidator(_flag)]
Count = Annotated[int, PlainValidator(_count)]
Workers = Annotated[int | Literal["auto"], PlainValidator(_workers)]
FileMode = Annotated[int, PlainValidator(_file_mode)]
Duration = Annotated[float, PlainValidator(parse_duration)]
Period = Annotated[int, PlainValidator(parse_period)]
Size = Annotated[int, PlainValidator(parse_size)]
OnStoreOutage = Annotated[float, PlainValidator(parse_outage)]
Text = Annotated[str, AfterValidator(_some)]

RoleName = Annotated[str, AfterValidator(names.role_name)]
PermissionName = Annotated[str, AfterValidator(names.permission_name)]
UserId = Annotated[str, AfterValidator(names.user_id)]
Label = Annotated[str, AfterValidator(names.label)]
Method = Annotated[str, AfterValidator(names.method)]
CookieName = Annotated[str, AfterValidator(names.cookie_name)]
AcceptedCookie = Annotated[str, AfterValidator(names.accepted_cookie)]
IdPrefix = Annotated[str, AfterValidator(names.id_prefix)]
PayloadPath = Annotated[str, AfterValidator(names.payload_path)]
KeyPrefix = Annotated[str, AfterValidator(names.key_prefix)]
Identifier = Annotated[str, AfterValidator(names.identifier)]
HeaderName = Annotated[str, AfterValidator(names.header_name)]
KeptHeader = Annotated[str, AfterValidator(names.kept_header)]
SetHeader = Annotated[str, AfterValidator(names.set_header)]
ReadableHeader = Annotated[str, AfterValidator(names.readable_header)]
HeaderValue = Annotated[str, AfterValidator(names.header_value)]

Origin = Annotated[str, AfterValidator(addresses.parse_origin)]
CrossOrigin = Annotated[str, AfterValidator(addresses.parse_cross_origin)]
PlainPath = Annotated[str, AfterValidator(addresses.plain_path)]
CookiePath = Annotated[str, AfterValidator(addresses.cookie_path)]
PageAddress = Annotated[str, AfterValidator(addresses.page_address)]
Listen = Annotated[Listener, _from_text(addresses.parse_listener)]
UpstreamUrl = Annotated[Target, _from_text(addresses.parse_target)]
NetworkText = Annotated[Network, _from_text(addresses.parse_network)]
Proxy = Annotated[Network | Literal["unix"], _from_text(addresses.parse_proxy)]
