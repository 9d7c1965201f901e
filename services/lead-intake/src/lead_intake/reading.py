"""Bodies into plain data, within limits: JSON, urlencoded forms with bracket keys, multipart.

Every limit answers an attack (depth, count of fields, floods of brackets, huge numbers); what is beyond one
raises `Unparsable` with a reason code, and nothing else ever leaves these functions.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Never
from urllib.parse import parse_qsl, unquote_to_bytes, urlsplit

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from lead_intake.delivery import Incoming, Unparsable

MAX_FIELDS = 1_000
MAX_DEPTH = 32
MAX_BRACKETS = 8
MAX_HEADER_BYTES = 4_096

CHARSETS: Mapping[str, str] = {
    "": "utf-8",
    "utf-8": "utf-8",
    "utf8": "utf-8",
    "us-ascii": "utf-8",
    "ascii": "utf-8",
    "iso-8859-1": "cp1252",  # as browsers read it
    "latin1": "cp1252",
    "windows-1252": "cp1252",
    "windows-1251": "cp1251",
    "koi8-r": "koi8-r",
}


def data_of(incoming: Incoming) -> Any:
    """The body as dicts, lists and scalars, by its content type. Raises `Unparsable`."""
    kind, options = content_type(incoming)
    if kind == "application/json" or kind.endswith("+json"):
        return json_of(incoming.body, charset=options.get("charset", ""))
    if kind == "application/x-www-form-urlencoded":
        return form_of(incoming.body, charset=options.get("charset", ""))
    if kind == "multipart/form-data":
        return multipart_of(incoming.body, boundary=options.get("boundary", ""))
    if kind in ("", "text/plain") and incoming.body[:1] in (b"{", b"["):
        return json_of(incoming.body, charset="")  # senders that do not name their JSON
    raise Unparsable("content_type")


def query_of(incoming: Incoming) -> dict[str, str]:
    """The query of the address; of a repeated name the first counts. Empty where it cannot be read."""
    try:
        pairs = parse_qsl(urlsplit(incoming.url).query[:4_000], keep_blank_values=True, max_num_fields=50)
    except ValueError:
        return {}
    return dict(reversed(pairs))


def json_object(incoming: Incoming) -> dict[str, Any]:
    """The body as one JSON object, whatever the content type says. Raises `Unparsable`."""
    data = json_of(incoming.body, charset=content_type(incoming)[1].get("charset", ""))
    if not isinstance(data, dict):
        raise Unparsable("not_an_object")
    return data


def content_type(incoming: Incoming) -> tuple[str, dict[str, str]]:
    raw = incoming.headers.get("content-type", "")
    if raw == "application/json":  # nearly always
        return raw, {}
    kind, options = parse_options_header(raw[:500].encode("latin-1", "ignore"))
    return kind.decode("latin-1").lower(), {
        name.decode("latin-1").lower(): value.decode("latin-1") for name, value in options.items()
    }


def json_of(body: bytes, *, charset: str) -> Any:
    """JSON without NaN and Infinity, at most `MAX_DEPTH` deep. Whole numbers stay exact."""
    if charset.lower() not in ("", "utf-8", "utf8", "us-ascii", "ascii"):
        raise Unparsable("charset")
    try:
        data = _DECODER.decode(body.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise Unparsable("charset") from None
    except RecursionError:
        raise Unparsable("too_deep") from None
    except ValueError:
        raise Unparsable("not_json") from None
    if (body.count(b"[") > MAX_DEPTH or body.count(b"{") > MAX_DEPTH) and _deeper_than(data, MAX_DEPTH):
        raise Unparsable("too_deep")
    if isinstance(data, dict) and len(data) > MAX_FIELDS:
        raise Unparsable("too_many_fields")
    return data


def form_of(body: bytes, *, charset: str) -> dict[str, Any]:
    """A urlencoded form; `a[b][]=c` nests, a repeated plain key keeps its last value."""
    pairs = body.split(b"&")
    if len(pairs) > MAX_FIELDS:
        raise Unparsable("too_many_fields")
    encoding = _encoding(charset)
    fields: dict[str, Any] = {}
    for pair in pairs:
        if not pair:
            continue
        name, _, value = pair.partition(b"=")
        _put(fields, _unquote(name, encoding), _unquote(value, encoding))
    if not fields:
        raise Unparsable("empty")
    return fields


def multipart_of(body: bytes, *, boundary: str) -> dict[str, Any]:
    """The text parts of a multipart form, as `form_of` gives them; files stay in the raw body only."""
    if not 0 < len(boundary) <= 70:
        raise Unparsable("multipart")
    reader = _Parts()
    try:
        parser = MultipartParser(
            boundary.encode("latin-1"),
            {
                "on_part_begin": reader.begin,
                "on_header_field": reader.header_field,
                "on_header_value": reader.header_value,
                "on_header_end": reader.header_end,
                "on_part_data": reader.data,
                "on_part_end": reader.end,
                "on_end": reader.finish,
            },
        )
        parser.write(body)
        parser.finalize()
    except (FormParserError, ValueError):
        raise Unparsable("multipart") from None
    if not reader.finished:
        raise Unparsable("multipart")
    if not reader.fields:
        raise Unparsable("empty")
    return reader.fields


class _Parts:
    """Collects text parts while the parser calls back."""

    def __init__(self) -> None:
        self.fields: dict[str, Any] = {}
        self.finished = False
        self._name = b""
        self._value = b""
        self._headers: dict[bytes, bytes] = {}
        self._body = bytearray()
        self._parts = 0

    def begin(self) -> None:
        self._parts += 1
        if self._parts > MAX_FIELDS:
            raise Unparsable("too_many_fields")
        self._headers, self._body = {}, bytearray()
        self._name = self._value = b""

    def header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]
        self._check_header()

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]
        self._check_header()

    def header_end(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name = self._value = b""

    def data(self, data: bytes, start: int, end: int) -> None:
        self._body += data[start:end]

    def end(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        name = options.get(b"name", b"")
        if name and b"filename" not in options:
            _, kind = parse_options_header(self._headers.get(b"content-type", b""))
            encoding = _encoding(kind.get(b"charset", b"").decode("latin-1"))
            try:
                _put(self.fields, name.decode("utf-8"), bytes(self._body).decode(encoding))
            except UnicodeDecodeError:
                raise Unparsable("charset") from None

    def finish(self) -> None:
        self.finished = True

    def _check_header(self) -> None:
        if len(self._name) + len(self._value) > MAX_HEADER_BYTES:
            raise Unparsable("multipart")


def _put(fields: dict[str, Any], name: str, value: str) -> None:
    if "[" not in name:
        fields[name] = value
        return
    root, _, rest = name.partition("[")
    if not root or not rest.endswith("]"):
        fields[name] = value
        return
    steps = rest[:-1].split("][")
    if len(steps) > MAX_BRACKETS:
        raise Unparsable("too_deep")
    node, key = fields, root
    for step in steps:
        child = node.get(key)
        if not isinstance(child, dict):
            child = node[key] = {}
        # PHP's empty brackets append; whole numbers stay keys, a flood of them costs one small dict each.
        node, key = child, step or str(len(child))
    node[key] = value


def _unquote(value: bytes, encoding: str) -> str:
    try:
        return unquote_to_bytes(value.replace(b"+", b" ")).decode(encoding)
    except UnicodeDecodeError:
        raise Unparsable("charset") from None


def _encoding(charset: str) -> str:
    try:
        return CHARSETS[charset.strip().lower()]
    except KeyError:
        raise Unparsable("charset") from None


def _deeper_than(data: Any, limit: int) -> bool:
    level = [data]
    for _ in range(limit + 1):
        level = [
            child
            for node in level
            if isinstance(node, dict | list)
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True


def _no_constant(_: str) -> Never:
    raise ValueError("NaN and Infinity are no JSON")


_DECODER = json.JSONDecoder(parse_constant=_no_constant)
