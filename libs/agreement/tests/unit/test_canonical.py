import pytest
from hypothesis import given
from hypothesis import strategies as st

from baton_agreement.canonical import MAX_INTEGER, NotCanonical, canonical_bytes, quick_canonical_bytes

text = st.text(st.characters(exclude_categories=["Cs"]))
keys = st.text(st.characters(exclude_categories=["Cs"], max_codepoint=0xFFFF))
values = st.recursive(
    st.none() | st.booleans() | st.integers(-MAX_INTEGER, MAX_INTEGER) | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=20,
)


@given(values)
def test_the_quick_bytes_are_the_bytes_of_rfc_8785(value: object) -> None:
    assert quick_canonical_bytes(value) == canonical_bytes(value)


@pytest.mark.parametrize("value", [1.5, {"a": [float("nan")]}, 2**53, "\ud800", {"a": 1e2}])
def test_what_has_no_exact_form_is_refused(value: object) -> None:
    with pytest.raises(NotCanonical):
        canonical_bytes(value)
