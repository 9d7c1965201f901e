import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from baton_agreement.agreement import read_agreement
from baton_agreement.canonical import canonical_bytes
from baton_agreement.schema import json_schema
from qualification.pages import LABELS, Language, page_of

YAML = (Path(__file__).parents[4] / "libs/agreement/examples/agreement.yaml").read_bytes()
EXAMPLE = read_agreement(YAML, "yaml").document


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(item, (*path, key))
    else:
        yield path


def changed(document: bytes, path: tuple[Any, ...]) -> bytes:
    """Return the document with another value of the same kind at the leaf."""
    tree = json.loads(document)
    at = tree
    for step in path[:-1]:
        at = at[step]
    value, key = at[path[-1]], path[-1]
    if value is True:
        del at[key]
    elif isinstance(value, int):
        at[key] = value + 1
    elif key in ("within", "remind_after", "accept_within", "first_response_within"):
        at[key] = "9" + value
    else:
        others = {
            "owner": "marketing sales",
            "department": "marketing sales",
            "touch": "visit call",
            "about": "lead deal",
        }
        others |= {"family": "fit data", "measure": "deals revenue"}
        at[key] = next((w for w in others.get(key, "").split() if w != value), value + "x")
    return canonical_bytes(tree)


@pytest.mark.parametrize("path", list(leaves(json.loads(EXAMPLE))), ids=lambda path: "/".join(map(str, path)))
def test_each_value_of_the_document_is_said(path: tuple[Any, ...]) -> None:
    other = changed(EXAMPLE, path)
    languages: list[Language] = ["en"] if path[-1] == "en" else ["ru"] if path[-1] == "ru" else ["en", "ru"]
    for language in languages:
        assert page_of(other, language=language) != page_of(EXAMPLE, language=language)


def test_every_key_of_the_form_has_words_in_both_languages_and_the_example_shows_every_section() -> None:
    schema = json_schema()
    keys = {key for form in [schema, *schema["$defs"].values()] for key in form["properties"]} - {"en", "ru"}
    assert keys == set(LABELS)
    assert all(en and ru and en != ru for en, ru in LABELS.values())
    assert set(schema["properties"]) - set(json.loads(EXAMPLE)) == {"matrix"}


def test_the_pages_of_the_departments_say_what_each_owes() -> None:
    marketing, sales = (page_of(EXAMPLE, language="en", page=page) for page in ("marketing", "sales"))
    assert "What marketing promises" in marketing
    assert "What sales promises" not in marketing
    assert "contact-again" in sales
    assert "contact-again" not in marketing


def test_a_text_of_several_lines_stays_one_line_of_the_page() -> None:
    tree = json.loads(EXAMPLE)
    tree["fit"][0] |= {"when": "true //\n- Points: 900.", "en": "A\n- Points: 900."}
    said = page_of(canonical_bytes(tree), language="en")
    assert not [line for line in said.splitlines() if line.startswith("- Points: 900.")]
