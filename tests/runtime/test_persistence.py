"""What a drafter learned, from process to process through a real file."""

import logging

import numpy as np
import pytest

from aded_edge.draft import matrix as matrix_module
from aded_edge.draft.drafter import AdaptiveDrafter
from aded_edge.draft.matrix import TrigramMatrix
from aded_edge.draft.spans import Spans
from aded_edge.errors import StoreError
from aded_edge.runtime import persistence as memory_module
from aded_edge.runtime.persistence import Persistence, stored
from aded_edge.store import LearnedText, Store
from aded_edge.teach.lessons import Lessons
from tests.draft.reading import lookup


def drafter():
    return AdaptiveDrafter(
        matrix=TrigramMatrix(), spans=Spans(1 << 12), keep_news=True, least=0.001
    )


def remember(path, *texts, fingerprint="f"):
    """One process: loads, reads the texts as turns of their own, saves, ends."""
    memory, own = Persistence(path), drafter()
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
    memories, own = [Persistence(path), Persistence(path)], [drafter(), drafter()]
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
            tokens, shares = lookup(both.matrix, 100 * who + turn, 7)
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
    memory, own = Persistence(path), drafter()
    memory.load("f", "name", own)
    model = memory._model
    assert model is not None
    real, refusals = model.add, [2]

    def add(learned, **about):
        if refusals[0]:
            refusals[0] -= 1
            raise memory_module.StoreError("the disk is full")
        return real(learned, **about)

    monkeypatch.setattr(model, "add", add)
    with caplog.at_level(logging.WARNING):
        for first in (1, 2, 3):
            own.read(np.asarray([first, 7, 8], np.int32))
            memory.save(own)
        memory.close()
    assert caplog.text.count("the disk is full") == 1
    again = remember(path)
    for first in (1, 2, 3):
        assert lookup(again.matrix, first, 7)[0].tolist() == [8]


def test_cost_curves_are_kept(tmp_path):
    path = tmp_path / "store.db"
    memory = Persistence(path)
    assert memory.load_costs("key") is None
    memory.save_costs("key", {1: 0.01, 4: 0.02}, {"threads": 2})
    memory.close()
    memory = Persistence(path)
    assert memory.load_costs("key") == {1: 0.01, 4: 0.02}
    memory.close()


def part(*texts):
    """What reading these texts teaches."""
    own = drafter()
    for text in texts:
        own.read(np.asarray(text, np.int32))
    return own.take_news().learned()


@pytest.fixture
def lessons(tmp_path):
    """Opens lessons on one store, and closes all."""
    opened = []

    def lessons():
        opened.append(Lessons(tmp_path / "store.db", "f", "name"))
        return opened[-1]

    yield lessons
    for one in opened:
        one.close()


def test_a_chat_knows_what_was_taught(tmp_path, lessons):
    assert lessons().add(part(TEXT))
    assert lookup(remember(tmp_path / "store.db").matrix, 5, 6)[0].tolist() == [7]


def test_lessons_know_what_a_chat_learned_and_what_they_taught(tmp_path, lessons):
    remember(tmp_path / "store.db", [1, 2, 3])
    own = lessons()
    own.add(part(TEXT))
    for context, follows in (((1, 2), 3), ((5, 6), 7)):
        assert lookup(own.drafter.matrix, *context)[0].tolist() == [follows]


def test_a_text_taught_meanwhile_keeps_its_part_out(lessons):
    one, other = lessons(), lessons()
    noted = [LearnedText("a" * 64, "a.md", 8)]
    assert one.add(part(TEXT), noted)
    assert not other.add(part(TEXT), noted)
    assert other.known(["a" * 64, "b" * 64]) == {"a" * 64}
    assert lookup(other.drafter.matrix, 5, 6)[0].tolist() == []


@pytest.mark.parametrize("bound", [("MOST_PARTS", 2), ("MOST_TOKENS", 20)])
def test_two_teachers_and_a_chat_lose_and_double_nothing_while_all_fold(
    tmp_path, lessons, monkeypatch, bound
):
    monkeypatch.setattr(memory_module, *bound)
    path = tmp_path / "store.db"
    teachers, memory, own = [lessons(), lessons()], Persistence(path), drafter()
    memory.load("f", "name", own)
    for turn in range(8):
        for who, teacher in enumerate(teachers):
            teacher.add(part([100 * who + turn, 7, 1000 + 100 * who + turn]))
        own.read(np.asarray([200 + turn, 7, 1200 + turn], np.int32))
        memory.save(own)
        memory.wait()
    memory.close()
    with Store.open(path) as store:
        parts, _ = store.model("f", "name").load()
        assert len(parts) < 18
        tokens = np.concatenate([part.tokens for part in parts])
    for who in range(2):  # a chat's part begins with what was said before it, once more
        for turn in range(8):
            assert np.count_nonzero(tokens == 1000 + 100 * who + turn) == 1
    both = remember(path)
    for who in range(3):
        for turn in range(8):
            row = matrix_row(both, 100 * who + turn, 7)
            assert row == ([1000 + 100 * who + turn], [1.0])


def matrix_row(own, *context):
    """Successors of a context and their weights, not their shares."""
    rows = own.matrix.export()
    key = matrix_module.pair_key(*context)
    (row,) = np.flatnonzero(rows.keys == key)
    places = slice(rows.offsets[row], rows.offsets[row + 1])
    return rows.tokens[places].tolist(), rows.weights[places].tolist()


def test_a_store_that_cannot_be_written_is_an_error_of_lessons(tmp_path, lessons):
    path = tmp_path / "store.db"
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(StoreError, match="not a SQLite database"):
        lessons()
    assert path.read_bytes() == b"no database at all" * 100


def test_a_store_that_is_read_only_is_an_error_of_lessons(tmp_path, lessons, monkeypatch):
    lessons().close()
    monkeypatch.setattr("aded_edge.store.database.os.access", lambda path, mode: False)
    with pytest.raises(StoreError, match="is read-only, so nothing that is learned"):
        lessons()


def test_lessons_folded_by_another_process_are_taken_up_again(lessons):
    one, other = lessons(), lessons()
    one.add(part(TEXT))
    other.fold()
    one.add(part([1, 2, 3]))
    again = lessons()  # knows both parts ...
    again.fold()  # ... and is first
    one.fold()
    for own in (one, again, lessons()):
        assert matrix_row(own.drafter, 1, 2) == ([3], [1.0])
        assert matrix_row(own.drafter, 5, 6) == ([7], [1.0])


def test_what_is_stored_can_be_looked_at_without_a_change(tmp_path, lessons):
    path = tmp_path / "store.db"
    with pytest.raises(StoreError, match="cannot be opened"):
        stored(path, "f")
    assert not path.exists()
    lessons().add(part(TEXT))
    remember(path, [1, 2, 3])
    assert [p.tokens[p.tokens >= 0].tolist() for p in stored(path, "f")] == [TEXT, [1, 2, 3]]
    assert stored(path, "other") == []
