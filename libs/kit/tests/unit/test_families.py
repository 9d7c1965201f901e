"""Families follow the active edges, in whatever order these are told."""

from hypothesis import given
from hypothesis import strategies as st

from baton_kit.edges import Edge, families

KEYS = "abcdef"
EDGES = st.lists(
    st.builds(
        Edge,
        id=st.integers(0, 30).map("{:02d}".format),
        source=st.sampled_from(KEYS),
        target=st.sampled_from(KEYS),
        version=st.just(1),
        active=st.booleans(),
    ),
    unique_by=lambda e: e.id,
)


def test_a_chain_has_one_root_and_taking_an_edge_away_splits_it_again() -> None:
    first, second = Edge("1", "a", "b", 1, active=True), Edge("2", "b", "c", 1, active=True)
    assert families([first, second]).members("b") == ("a", "b", "c")
    assert families([first, second]).root("a") == "c"
    split = families([first, Edge("2", "b", "c", 2, active=False)])
    assert (split.members("a"), split.members("c")) == (("a", "b"), ("c",))


def test_of_two_ways_out_of_a_key_the_newer_edge_counts() -> None:
    found = families([Edge("2", "a", "c", 1, active=True), Edge("1", "a", "b", 1, active=True)])
    assert found.root("a") == "c"
    assert found.members("b") == ("b",)


@given(edges=EDGES, data=st.data())
def test_families_always_part_the_keys_whatever_the_order_of_the_edges(edges: list[Edge], data: st.DataObject) -> None:
    found = families(edges)
    assert families(data.draw(st.permutations(edges))) == found
    for key in KEYS:
        assert key in found.members(key)
        assert found.root(found.root(key)) == found.root(key)
        assert all(found.root(member) == found.root(key) for member in found.members(key))
    assert sorted(m for r in {found.root(k) for k in KEYS} for m in found.members(r)) == list(KEYS)
