"""One delivery as it came in, and the JSON inside. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import NoReturn, TypeAlias

from sales_feedback.times import Unreadable

MAX_TEXT = 500
"""Longest value of a field that is kept; no stage, amount or code is longer."""

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | Decimal | bool | None"


@dataclass(frozen=True, slots=True)
class Delivery:
    """What the CRM sent: `uri` is the address it called, `headers` have lower-case names."""

    method: str
    uri: str
    headers: Mapping[str, str]
    body: bytes


def read_json(body: bytes) -> Json:
    """The JSON of a body with exact numbers; raises Unreadable with a reason that quotes nothing of it."""
    try:
        value: Json = json.loads(body.decode("utf-8"), parse_float=Decimal, parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise Unreadable("the body is not UTF-8") from error
    except RecursionError as error:
        raise Unreadable("the body is nested too deeply") from error
    except (ValueError, ArithmeticError) as error:
        raise Unreadable("the body is not JSON") from error
    return value


def text_of(value: Json) -> str:
    """A scalar as text that a database takes, empty for null; raises Unreadable for anything else."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | Decimal):
        # Python refuses to print integers of thousands of digits: nothing that long is meant anyway.
        if isinstance(value, int) and value.bit_length() > 256:
            raise Unreadable("a number is too long")
        text = str(value)
    elif isinstance(value, str):
        text = value
    else:
        raise Unreadable("a value is not a text or a number")
    if len(text) > MAX_TEXT:
        raise Unreadable("a value is too long")
    if "\x00" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise Unreadable("a value holds characters that are no text")
    return text


def id_of(value: Json) -> str:
    """An id, which a CRM may write as a number; raises Unreadable for one that is missing or no id."""
    if isinstance(value, bool | Decimal):
        raise Unreadable("an id is not a text or a whole number")
    text = text_of(value).strip()
    if not text or len(text) > 100:
        raise Unreadable("an id is missing or too long")
    return text


def _no_constant(_name: str) -> NoReturn:
    raise ValueError("NaN and Infinity are no JSON")
