"""What a drafter learned, from process to process through a real file."""

import logging

import numpy as np
import pytest

from aded_edge import memory as memory_module
from aded_edge.draft.drafter import AdaptiveDrafter
from aded_edge.draft.matrix import TrigramMatrix
from aded_edge.draft.spans import Spans
from aded_edge.memory import Memory
from aded_edge.store import Store


def drafter():
    return AdaptiveDrafter(
        matrix=TrigramMatrix(), spans=Spans(1 << 12), keep_news=True, least=0.001
    )


def remember(path, *texts, fingerprint="f"):
    """One process: loads, reads the texts as turns of their own, saves, ends."""
    memory, own = Memory(path), drafter()
    memory.load(fingerprint, "name", own)
    for text in texts:
        own.read(np.asarray(text, np.int32))
        memory.save(own)
    memory.close()
    return own


def drafted(own, context):
    tree = own.draft(np.asarray(context[:-1], np.int32), context[-1], 8)
    return dict(zip(tree.tokens.tolist(), tree.probs.tolist(), strict=True))


TEXT = [5, 6, 7, 8, 9, 10, 11, 12]


def test_the_next_process_drafts_what_this_one_read(tmp_path):
    taught = remember(tmp_path / "store.db", TEXT)
    assert drafted(drafter(), [6, 7]) == {}
    assert drafted(remember(tmp_path / "store.db"), [6, 7]) == drafted(taught, [6, 7]) != {}


def test_models_do_not_mix(tmp_path):
    remember(tmp_path / "store.db", TEXT)
    assert drafted(remember(tmp_path / "store.db", fingerprint="other"), [6, 7]) == {}


def test_many_parts_become_their_sum_and_nothing_is_lost(tmp_path, monkeypatch):
    monkeypatch.setattr(memory_module, "MOST_PARTS", 4)
    path = tmp_path / "store.db"
    texts = [[first, 50 + first, 90, 91, first] for first in range(1, 12)]
    taught = remember(path, *texts)
    with Store.open(path) as store:
        assert len(store.model("f", "name").parts()) <= 5
    again = remember(path)
    for text in texts:
        assert drafted(again, text[:2]) == pytest.approx(drafted(taught, text[:2]))
        assert 90 in drafted(again, text[:2])
    assert len(again.matrix) == len(taught.matrix)


def test_two_at_once_lose_nothing_even_when_both_fold(tmp_path, monkeypatch):
    monkeypatch.setattr(memory_module, "MOST_PARTS", 2)
    path = tmp_path / "store.db"
    memories, own = [Memory(path), Memory(path)], [drafter(), drafter()]
    for one, memory in zip(own, memories, strict=True):
        memory.load("f", "name", one)
    for turn in range(6):
        for who, (one, memory) in enumerate(zip(own, memories, strict=True)):
            one.read(np.asarray([100 * who + turn, 7, 1000 + 100 * who + turn], np.int32))
            memory.save(one)
    for memory in memories:
        memory.close()
    both = remember(path)
    for who in (0, 1):
        for turn in range(6):
            tokens, shares = both.matrix.lookup(100 * who + turn, 7)
            assert (tokens.tolist(), shares.tolist()) == ([1000 + 100 * who + turn], [1.0])


def test_a_damaged_store_is_told_once_and_left_alone(tmp_path, caplog):
    path = tmp_path / "store.db"
    path.write_bytes(b"no database at all" * 100)
    with caplog.at_level(logging.WARNING):
        own = remember(path, TEXT, TEXT)
    assert drafted(own, [6, 7])
    assert len(caplog.records) == 1
    assert str(path) in caplog.text
    assert path.read_bytes() == b"no database at all" * 100


def test_what_could_not_be_saved_is_saved_with_the_next_turn(tmp_path, monkeypatch, caplog):
    path = tmp_path / "store.db"
    memory, own = Memory(path), drafter()
    memory.load("f", "name", own)
    model = memory._model
    assert model is not None
    real, refusals = model.add, [2]

    def add(learned):
        if refusals[0]:
            refusals[0] -= 1
            raise memory_module.StoreError("the disk is full")
        return real(learned)

    monkeypatch.setattr(model, "add", add)
    with caplog.at_level(logging.WARNING):
        for first in (1, 2, 3):
            own.read(np.asarray([first, 7, 8], np.int32))
            memory.save(own)
        memory.close()
    assert caplog.text.count("the disk is full") == 1
    again = remember(path)
    for first in (1, 2, 3):
        assert again.matrix.lookup(first, 7)[0].tolist() == [8]


def test_cost_curves_are_kept(tmp_path):
    path = tmp_path / "store.db"
    memory = Memory(path)
    assert memory.load_costs("key") is None
    memory.save_costs("key", {1: 0.01, 4: 0.02}, {"threads": 2})
    memory.close()
    memory = Memory(path)
    assert memory.load_costs("key") == {1: 0.01, 4: 0.02}
    memory.close()
