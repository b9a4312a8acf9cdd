"""The layout of a tree, compared with a list of all its root-to-leaf paths."""

from hypothesis import given
from hypothesis import strategies as st

from aded_edge.llamacpp.layout import layout
from tests import naive
from tests.naive import ids

trees = st.lists(st.integers(0, 63), max_size=64).map(
    lambda draws: [draw % (node + 1) - 1 for node, draw in enumerate(draws)]
)
bushes = st.lists(st.sampled_from([-1, 0, 1]), max_size=40).map(
    lambda draws: [min(draw, node - 1) for node, draw in enumerate(draws)]
)
chains = st.integers(0, 40).map(lambda n: list(range(-1, n - 1)))


@given(trees | bushes | chains)
def test_a_row_carries_the_ids_of_exactly_its_paths(parents):
    placed, paths = layout(ids(*parents)), naive.paths(parents)
    rows = len(parents) + 1
    first, count = placed.first_leaf.tolist(), placed.leaf_count.tolist()
    held = [set(range(first[row], first[row] + count[row])) for row in range(rows)]
    id_of = [first[path[-1]] for path in paths]
    assert placed.leaves == len(paths)
    assert sorted(id_of) == list(range(len(paths))), "each path has an id of its own"
    for row in range(rows):
        through = [number for number, path in zip(id_of, paths, strict=True) if row in path]
        assert held[row] == set(through)


@given(trees | bushes | chains)
def test_the_first_id_of_a_row_is_carried_by_all_that_it_sees(parents):
    """llama.cpp masks by the first id, which must show a row its own path and no other rows."""
    placed = layout(ids(*parents))
    first, count = placed.first_leaf.tolist(), placed.leaf_count.tolist()
    above = {node + 1: parent + 1 for node, parent in enumerate(parents)}
    for row in range(len(parents) + 1):
        path, at = {row}, row
        while at:
            at = above[at]
            path.add(at)
        seen = {other for other in range(row + 1) if 0 <= first[row] - first[other] < count[other]}
        assert seen == path


@given(trees | bushes | chains)
def test_depths_are_lengths_of_paths(parents):
    depths = layout(ids(*parents)).depths.tolist()
    for path in naive.paths(parents):
        assert [depths[row] for row in path] == list(range(len(path)))


def test_a_root_alone_is_one_sequence():
    alone = layout(ids())
    assert (alone.depths.tolist(), alone.first_leaf.tolist(), alone.leaf_count.tolist()) == (
        [0],
        [0],
        [1],
    )
    assert alone.leaves == 1


def test_a_chain_needs_one_sequence_only():
    chain = layout(ids(-1, 0, 1))
    assert chain.leaves == 1
    assert chain.first_leaf.tolist() == [0] * 4


def test_the_arrays_are_what_the_batch_takes():
    for parents in ((), (-1, 0), (-1, -1)):
        placed = layout(ids(*parents))
        for array in (placed.depths, placed.first_leaf, placed.leaf_count):
            assert array.dtype == "int32"
            assert array.shape == (len(parents) + 1,)
