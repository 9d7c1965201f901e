"""Read a YAML or JSON document into a plain tree that knows where each value stood.

Stricter than the formats: one reading is possible, no anchors, no tags, no duplicate keys, no fractions. `NO` is a
text and `1.5` is refused, so that what the author sees is what is signed.
"""

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NoReturn

import yaml

MAX_BYTES: Final = 128 * 1024
MAX_VALUES: Final = 10_000
MAX_DEPTH: Final = 16
MAX_DIGITS: Final = 15

_INTEGER: Final = re.compile(r"[-+]?[0-9]+\Z")
_FRACTION: Final = re.compile(
    r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(?:\.[0-9]*)?[eE][-+]?[0-9]+|\.(inf|Inf|INF)|\.(nan|NaN|NAN))\Z"
)
_WORDS: Final[Mapping[str, bool | None]] = {"true": True, "false": False, "null": None, "~": None, "": None}
# Direction marks and invisible characters: with them the page that people sign could read unlike the bytes that run.
_INVISIBLE: Final = re.compile("[\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]")


@dataclass(frozen=True, slots=True)
class Flaw:
    """One thing that is wrong with a document: where (JSON Pointer; line and column from 1 for YAML) and what to do."""

    pointer: str
    detail: str
    line: int | None = None
    column: int | None = None


class DocumentRefused(ValueError):
    """The document cannot be used; `flaws` lists everything that was found."""

    def __init__(self, flaws: list[Flaw]) -> None:
        super().__init__("; ".join(f"{flaw.pointer or '/'}: {flaw.detail}" for flaw in flaws[:5]))
        self.flaws = flaws


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value begins; `block` when its text starts on the next line (YAML literal blocks)."""

    line: int
    column: int
    block: bool = False


@dataclass(frozen=True, slots=True)
class Tree:
    """A parsed document and, for YAML, the place of each value by JSON Pointer."""

    value: Any
    places: Mapping[str, Place] = field(default_factory=dict)

    def flaw(self, pointer: str, detail: str, *, line: int = 1, column: int = 1) -> Flaw:
        """Return a flaw at `pointer`; `line` and `column` count inside the text that stands there."""
        at = pointer
        while at and at not in self.places:
            at = at.rpartition("/")[0]
        place = self.places.get(at)
        if place is None:
            return Flaw(pointer=pointer, detail=detail)
        if at != pointer:
            return Flaw(pointer=pointer, detail=detail, line=place.line, column=place.column)
        if place.block:
            return Flaw(pointer=pointer, detail=detail, line=place.line + line, column=None)
        first = place.column + column - 1 if line == 1 else None
        return Flaw(pointer=pointer, detail=detail, line=place.line + line - 1, column=first)


def read_document(raw: bytes, format: Literal["yaml", "json"]) -> Tree:
    """Return the tree of `raw`; raises DocumentRefused with every flaw's place."""
    if len(raw) > MAX_BYTES:
        _refuse(f"has more than {MAX_BYTES} bytes")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        _refuse(f"is not UTF-8 (byte {error.start})")
    tree = _read_yaml(text) if format == "yaml" else _read_json(text)
    _check_texts(tree)
    return tree


def pointer_of(*steps: str | int) -> str:
    """Return the JSON Pointer (RFC 6901) of a path."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in steps)


def _refuse(detail: str, *, pointer: str = "", line: int | None = None, column: int | None = None) -> NoReturn:
    raise DocumentRefused([Flaw(pointer=pointer, detail=detail, line=line, column=column)])


def _read_json(text: str) -> Tree:
    def number(digits: str) -> Any:
        _refuse(f"{digits[:20]} is not a whole number; use a smaller unit")

    def integer(digits: str) -> int:
        if len(digits) > MAX_DIGITS:
            _refuse("a number has too many digits")
        return int(digits)

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        taken = dict(items)
        if len(taken) < len(items):
            names = [name for name, _ in items]
            twice = next(name for name in names if names.count(name) > 1)
            _refuse(f"the key '{twice[:50]}' stands twice in one object; keep one of them")
        return taken

    try:
        value = json.loads(text, object_pairs_hook=pairs, parse_float=number, parse_int=integer, parse_constant=number)
    except json.JSONDecodeError as error:
        _refuse(f"is not JSON: {error.msg}", line=error.lineno, column=error.colno)
    except RecursionError:
        _refuse("is nested too deeply")
    return Tree(value=value)


@dataclass(slots=True)
class _Open:
    container: dict[str, Any] | list[Any]
    pointer: str
    key: str | None = None


def _read_yaml(text: str) -> Tree:
    # Events, not yaml.load: they show anchors, tags and quotes, and nesting costs no recursion.
    places: dict[str, Place] = {}
    stack: list[_Open] = []
    root: list[Any] = []
    count = documents = 0

    def place_value(event: Any, value: Any) -> str:
        mark = event.start_mark
        if not stack:
            pointer = ""
            root.append(value)
        else:
            top = stack[-1]
            if isinstance(top.container, list):
                pointer = f"{top.pointer}{pointer_of(len(top.container))}"
                top.container.append(value)
            else:
                pointer = f"{top.pointer}{pointer_of(top.key or '')}"
                top.container[top.key or ""] = value
                top.key = None
        style = getattr(event, "style", None)
        quoted = 1 if style in ("'", '"') else 0
        places[pointer] = Place(line=mark.line + 1, column=mark.column + 1 + quoted, block=style in ("|", ">"))
        return pointer

    try:
        events: Iterator[Any] = yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        for event in events:
            mark = event.start_mark
            where: dict[str, Any] = {"line": mark.line + 1, "column": mark.column + 1}
            here = stack[-1].pointer if stack else ""
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    _refuse("holds more than one YAML document; send one", **where)
            if not isinstance(event, yaml.NodeEvent | yaml.CollectionEndEvent):
                continue
            count += 1
            if count > MAX_VALUES:
                _refuse(f"has more than {MAX_VALUES} values", **where)
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
                _refuse(
                    "anchors and aliases (& and *) are not allowed; write the value out",
                    pointer=here,
                    **where,
                )
            if getattr(event, "tag", None) is not None:
                _refuse("tags (!) are not allowed", pointer=here, **where)
            if isinstance(event, yaml.CollectionEndEvent):
                stack.pop()
                continue
            expects_key = bool(stack) and isinstance(stack[-1].container, dict) and stack[-1].key is None
            if expects_key:
                if not isinstance(event, yaml.ScalarEvent):
                    _refuse("a key must be a text", pointer=here, **where)
                key: str = event.value
                if key in stack[-1].container:
                    _refuse(
                        f"the key '{key[:50]}' stands twice; keep one of them",
                        pointer=f"{here}{pointer_of(key)}",
                        **where,
                    )
                stack[-1].key = key
            elif isinstance(event, yaml.ScalarEvent):
                value = _scalar(event, pointer=here, where=where)
                place_value(event, value)
            else:
                if len(stack) >= MAX_DEPTH:
                    _refuse("is nested too deeply", pointer=here, **where)
                container: dict[str, Any] | list[Any] = {} if isinstance(event, yaml.MappingStartEvent) else []
                stack.append(_Open(container=container, pointer=place_value(event, container)))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        _refuse(
            f"is not YAML: {error.problem}",
            line=mark.line + 1 if mark else None,
            column=mark.column + 1 if mark else None,
        )
    except yaml.YAMLError as error:
        _refuse(f"is not YAML: {str(error).splitlines()[0]}")
    if not root:
        _refuse("is empty")
    return Tree(value=root[0], places=places)


def _scalar(event: Any, *, pointer: str, where: Mapping[str, int]) -> Any:
    text: str = event.value
    if not event.implicit[0]:  # quoted, or a block: a text
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.match(text):
        if len(text) > MAX_DIGITS:
            _refuse("the number has too many digits", pointer=pointer, **where)
        if text.lstrip("+-")[:1] == "0" and len(text.lstrip("+-")) > 1:
            _refuse(f"{text} begins with 0; quote it if it is a text", pointer=pointer, **where)
        return int(text)
    if _FRACTION.match(text):
        _refuse(
            f"{text[:20]} is not a whole number; use a smaller unit, or quote it if it is a text",
            pointer=pointer,
            **where,
        )
    return text


def _check_texts(tree: Tree) -> None:
    flaws: list[Flaw] = []
    waiting: list[tuple[str, Any, int]] = [("", tree.value, 0)]
    count = 0
    while waiting:
        pointer, value, depth = waiting.pop()
        count += 1
        if count > MAX_VALUES:
            _refuse(f"has more than {MAX_VALUES} values")
        if depth > MAX_DEPTH:
            _refuse("is nested too deeply", pointer=pointer)
        if isinstance(value, dict):
            for key, item in value.items():
                problem = _text_problem(key)
                if problem:
                    flaws.append(tree.flaw(pointer, f"a key {problem}"))
                else:
                    waiting.append((f"{pointer}{pointer_of(key)}", item, depth + 1))
        elif isinstance(value, list):
            waiting.extend((f"{pointer}{pointer_of(i)}", item, depth + 1) for i, item in enumerate(value))
        elif isinstance(value, str):
            problem = _text_problem(value)
            if problem:
                flaws.append(tree.flaw(pointer, problem))
    if flaws:
        raise DocumentRefused(flaws)


def _text_problem(text: str) -> str | None:
    if any((ord(c) < 32 and c not in "\n\t") or 0x7F <= ord(c) < 0xA0 for c in text):
        return "contains a control character; take it out"
    if any(0xD800 <= ord(c) <= 0xDFFF for c in text):
        return "contains half a character (a lone surrogate); take it out"
    if _INVISIBLE.search(text):
        return "contains an invisible or direction-changing character; take it out"
    if not unicodedata.is_normalized("NFC", text):
        return "is not in Unicode form NFC; normalise it, so that equal looks are equal bytes"
    return None
