"""What the conformance suite must know of a provider: its examples as they stand on the wire, and how it signs."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

EMAIL, PHONE = "anna.petrova@example.com", "+34600112233"
"""The person of every lead example."""
PUBLIC_URL = "http://127.0.0.1:8100"
NO_FIELDS: Mapping[str, str] = {}


@dataclass(frozen=True)
class Signing:
    """What a provider has at hand when it signs."""

    secret: str
    body: bytes
    url: str
    now: datetime
    key: str

    def hmac(self, *parts: bytes, secret: bytes | None = None) -> bytes:
        return hmac.digest(self.secret.encode() if secret is None else secret, b"".join(parts), hashlib.sha256)


@dataclass(frozen=True)
class Codec:
    """A kind of body: bytes to a tree of dicts, lists and scalars and back."""

    content_type: str
    load: Callable[[bytes], Any]
    dump: Callable[[Any], bytes]


JSON = Codec("application/json", json.loads, lambda tree: json.dumps(tree).encode())
FORM = Codec(
    "application/x-www-form-urlencoded",
    lambda body: dict(parse_qsl(body.decode().strip(), keep_blank_values=True)),
    lambda tree: urlencode(tree).encode(),
)


def multipart_load(body: bytes) -> dict[str, str]:
    parts = body.replace(b"\r\n", b"\n").split(b"--b0undary")[1:-1]
    named = [part.strip(b"\n").partition(b"\n\n") for part in parts]
    return {head.split(b'name="')[1].split(b'"')[0].decode(): value.decode() for head, _, value in named}


def multipart_dump(tree: Any) -> bytes:
    parts = [f'--b0undary\r\nContent-Disposition: form-data; name="{n}"\r\n\r\n{v}\r\n' for n, v in tree.items()]
    return "".join([*parts, "--b0undary--\r\n"]).encode("utf-8", "surrogatepass")


MULTIPART = Codec("multipart/form-data; boundary=b0undary", multipart_load, multipart_dump)


def holding_json(outer: Codec, name: str) -> Codec:
    """A form, one field of which holds JSON as text."""

    def load(body: bytes) -> Any:
        tree = outer.load(body)
        return tree | {name: json.loads(tree[name])}

    return Codec(outer.content_type, load, lambda tree: outer.dump(tree | {name: json.dumps(tree[name])}))


@dataclass(frozen=True)
class Handshake:
    """A question of the provider: the settings of the source, the request and the whole answer."""

    body: bytes
    status: int
    answer: bytes
    content_type: str
    method: str = "POST"
    query: str = ""


@dataclass(frozen=True)
class Sample:
    """A provider, for the conformance suite.

    `key` is the id of the entry in the lead example. `proof` is what a signature covers: "body", the "secret" alone
    in a header, the "secret in the body", or "token" where only the address is unguessable. `window` is how old a
    signed time may be. `reply` is the exact answer where the provider demands one. With `names_only` a delivery names
    the lead, and its contents have to be asked for.
    """

    provider: str
    key: str
    codec: Codec = JSON
    lead: str = "lead.json"
    secret: str = ""
    sign: Callable[[Signing], dict[str, str]] = lambda _: {}
    proof: str = "body"
    window: timedelta | None = None
    reply: tuple[int, bytes] | None = None
    statuses: tuple[int, ...] = (200, 202)
    key_is_header: bool = False
    keyless: bool = False
    names_only: bool = False
    add: Callable[[Any, dict[str, Any]], None] = lambda tree, more: tree.update(more)
    as_test: Callable[[Any], Any] | None = None
    batch: Callable[[list[Any]], Any] | None = None
    handshake: Handshake | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    credentials: Mapping[str, str] = field(default_factory=dict)
    mapping: Mapping[str, Any] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        return Path(__file__).parent / self.provider

    @cached_property
    def tree(self) -> Any:
        return self.codec.load((self.folder / self.lead).read_bytes())

    def fill(self, key: str, email: str, phone: str = "", **more: Any) -> Any:
        """The lead example as a tree, told of another inquiry; `more` are further fields."""
        tree = _replaced(self.tree, {self.key: key, EMAIL: email, PHONE: phone})
        if more:
            self.add(tree, more)
        return tree

    def body(self, key: str, email: str, phone: str = "", **more: Any) -> bytes:
        """The bytes of that inquiry as this provider writes them."""
        return self.codec.dump(self.fill(key, email, phone, **more))

    def headers(self, body: bytes, *, now: datetime, path: str, key: str = "k") -> dict[str, str]:
        """The headers that the provider sends with this body."""
        signing = Signing(self.secret, body, PUBLIC_URL + path, now, key)
        return {"content-type": self.codec.content_type} | self.sign(signing)

    def examples(self) -> list[tuple[Path, Any]]:
        """Each example file with what must be read from it."""
        found = sorted(self.folder.glob("*.expected.json"))
        return [(_example(file), json.loads(file.read_text())) for file in found]


def b64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


def _example(expected: Path) -> Path:
    stem = expected.name.removesuffix(".expected.json")
    [file] = [f for f in expected.parent.glob(f"{stem}.*") if f != expected]
    return file


def _replaced(node: Any, told: Mapping[str, str]) -> Any:
    if isinstance(node, dict):
        return {name: _replaced(value, told) for name, value in node.items()}
    if isinstance(node, list):
        return [_replaced(value, told) for value in node]
    return told.get(str(node), node) if isinstance(node, str | int) and not isinstance(node, bool) else node


def joined(trees: Sequence[Any]) -> Any:
    """Several leads of a provider that sends an array."""
    return list(trees)
