import pytest

from baton_agreement.document import DocumentRefused, read_document

HOSTILE_YAML = {
    "a bomb of anchors": (b"a: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]", "anchors"),
    "a tag": (b"a: !!python/object/apply:os.system [ls]", "tags"),
    "a duplicate key": (b"a: 1\nb: 2\na: 3", "stands twice"),
    "a fraction": (b"a: 1.5", "not a whole number"),
    "infinity": (b"a: .inf", "not a whole number"),
    "NUL": (b"a: x\x00y", "not YAML"),
    "an escaped NUL": (b'a: "x\\0y"', "control character"),
    "not UTF-8": (b"a: \xff", "UTF-8"),
    "deep nesting": (b"[" * 30_000, "nest"),
    "a huge document": (b"a: " + b"x" * 200_000, "more than"),
    "a huge number": (b"a: " + b"9" * 400, "digits"),
    "too many values": (b"a: [" + b"1," * 20_000 + b"]", "values"),
    "two documents": (b"a: 1\n---\nb: 2", "more than one"),
    "a direction mark": ("a: \u202etxet".encode(), "invisible"),
    "a composed key": (b"? [a, b]\n: 1", "key must be a text"),
    "nothing": (b"", "empty"),
    "an octal": (b"a: 0755", "begins with 0"),
}


@pytest.mark.parametrize(("raw", "says"), HOSTILE_YAML.values(), ids=HOSTILE_YAML.keys())
def test_hostile_yaml_is_refused_with_a_clear_reason(raw: bytes, says: str) -> None:
    with pytest.raises(DocumentRefused) as refused:
        read_document(raw, "yaml")
    assert says in refused.value.flaws[0].detail


HOSTILE_JSON = {
    "a duplicate key": (b'{"a": 1, "a": 2}', "stands twice"),
    "a fraction": (b'{"a": 1.0}', "not a whole number"),
    "NaN": (b'{"a": NaN}', "not a whole number"),
    "deep nesting": (b"[" * 100_000, "nested too deeply"),
    "a lone surrogate": (b'{"a": "\\ud800"}', "half a character"),
    "NUL": (b'{"a": "\\u0000"}', "control character"),
    "NUL in a key": (b'{"\\u0000": 1}', "control character"),
    "a huge number": (b'{"a": ' + b"9" * 5_000 + b"}", "digits"),
    "not JSON": (b"a: 1", "not JSON"),
}


@pytest.mark.parametrize(("raw", "says"), HOSTILE_JSON.values(), ids=HOSTILE_JSON.keys())
def test_hostile_json_is_refused_with_a_clear_reason(raw: bytes, says: str) -> None:
    with pytest.raises(DocumentRefused) as refused:
        read_document(raw, "json")
    assert says in refused.value.flaws[0].detail


def test_yaml_texts_stay_texts() -> None:
    tree = read_document(b"a: [NO, yes, on, 2026-01-01, 1_000, '7', 0x10]\nb: [7, -7, true, null]", "yaml")
    assert tree.value == {
        "a": ["NO", "yes", "on", "2026-01-01", "1_000", "7", "0x10"],
        "b": [7, -7, True, None],
    }


def test_places_are_those_of_the_text() -> None:
    tree = read_document(b'a: 1\nb:\n  - x: "y"\n  - x: |\n      one\n      two\n', "yaml")
    quoted = tree.flaw("/b/0/x", "", column=1)
    assert (quoted.line, quoted.column) == (3, 9)
    block = tree.flaw("/b/1/x", "", line=2)
    assert block.line == 6
