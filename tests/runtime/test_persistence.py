"""What a drafter learned, from process to process through a real file."""

import contextlib
import logging
import os
import shutil

import numpy as np
import pytest

from aded_edge.errors import StoreError
from aded_edge.runtime import persistence as module
from aded_edge.runtime.persistence import Persistence, load_learned
from aded_edge.store import Store
from aded_edge.teach.lessons import Lessons
from tests.runtime.learners import TEXT, drafted, drafter, matrix_row, part, remember
from tests.store.test_open_files import in_child


def test_the_next_process_drafts_what_this_one_read(tmp_path):
    taught = remember(tmp_path / "store.db", TEXT)
    assert drafted(drafter(), [6, 7]) == {}
    assert drafted(remember(tmp_path / "store.db"), [6, 7]) == drafted(taught, [6, 7]) != {}


def test_models_do_not_mix(tmp_path):
    remember(tmp_path / "store.db", TEXT)
    assert drafted(remember(tmp_path / "store.db", fingerprint="other"), [6, 7]) == {}


def test_many_parts_become_their_sum_and_nothing_is_lost(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST_PARTS", 4)
    path = tmp_path / "store.db"
    texts = [[first, 50 + first, 90, 91, first] for first in range(1, 12)]
    taught = remember(path, *texts)
    with Store.open(path) as store:
        assert len(store.model("f", "name").load()[1]) <= 5
    again = remember(path)
    for text in texts:
        assert drafted(again, text[:2]) == pytest.approx(drafted(taught, text[:2]))
        assert 90 in drafted(again, text[:2])
    assert len(again.matrix) == len(taught.matrix)


def test_two_at_once_lose_nothing_even_when_both_fold(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST_PARTS", 2)
    path = tmp_path / "store.db"
    opened, own = [Persistence(path), Persistence(path)], [drafter(), drafter()]
    for one, persistence in zip(own, opened, strict=True):
        persistence.load("f", "name", one)
    for turn in range(6):
        for who, (one, persistence) in enumerate(zip(own, opened, strict=True)):
            one.read(np.asarray([100 * who + turn, 7, 1000 + 100 * who + turn], np.int32))
            persistence.save(one)
    for persistence in opened:
        persistence.close()
    both = remember(path)
    for who in (0, 1):
        for turn in range(6):
            row = matrix_row(both, 100 * who + turn, 7)
            assert row == ([1000 + 100 * who + turn], [1.0])


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
    persistence, own = Persistence(path), drafter()
    persistence.load("f", "name", own)
    model = persistence._model
    assert model is not None
    real, refusals = model.add, [2]

    def add(learned, **about):
        if refusals[0]:
            refusals[0] -= 1
            raise StoreError("the disk is full")
        return real(learned, **about)

    monkeypatch.setattr(model, "add", add)
    with caplog.at_level(logging.WARNING):
        for first in (1, 2, 3):
            own.read(np.asarray([first, 7, 8], np.int32))
            persistence.save(own)
        persistence.close()
    assert caplog.text.count("the disk is full") == 1
    again = remember(path)
    for first in (1, 2, 3):
        assert matrix_row(again, first, 7)[0] == [8]


def test_cost_curves_are_kept(tmp_path):
    path = tmp_path / "store.db"
    persistence = Persistence(path)
    assert persistence.load_costs("key") is None
    persistence.save_costs("key", {1: 0.01, 4: 0.02}, {"threads": 2})
    persistence.close()
    persistence = Persistence(path)
    assert persistence.load_costs("key") == {1: 0.01, 4: 0.02}
    persistence.close()


def test_what_is_stored_can_be_looked_at_without_a_change(tmp_path):
    path = tmp_path / "store.db"
    with pytest.raises(StoreError, match="cannot be opened"):
        load_learned(path, "f")
    assert not path.exists()
    with contextlib.closing(Lessons(path, "f", "name")) as lessons:
        lessons.add(part(TEXT))
    remember(path, [1, 2, 3])
    assert [p.tokens[p.tokens >= 0].tolist() for p in load_learned(path, "f")] == [TEXT, [1, 2, 3]]
    assert load_learned(path, "other") == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_writes_what_it_learns_and_nothing_twice(tmp_path, monkeypatch):
    path = tmp_path / "store.db"
    persistence, own = Persistence(path), drafter()
    persistence.load("f", "name", own)

    def learn(first):
        own.read(np.asarray([first, 7, 8], np.int32))
        persistence.save(own)

    learn(1)
    persistence.wait()
    model = persistence._model
    with monkeypatch.context() as patch:
        patch.setattr(model, "add", lambda *_, **__: (_ for _ in ()).throw(StoreError("full")))
        learn(2)  # the parent still has to write this
        persistence.wait()

    def child():
        for first in (3, 4):
            learn(first)
        persistence.wait()
        persistence.close()

    in_child(child)
    learn(5)
    persistence.close()
    kept = [p.tokens[-3:].tolist() for p in load_learned(path, "f")]
    assert sorted(kept) == [[first, 7, 8] for first in range(1, 6)]


def test_what_is_learned_after_the_file_was_removed_is_kept(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(module, "MOST_PARTS", 2)
    path = tmp_path / "data" / "store.db"
    persistence, own = Persistence(path), drafter()
    persistence.load("f", "name", own)
    for first in range(1, 9):
        own.read(np.asarray([first, 7, 8], np.int32))
        persistence.save(own)
        persistence.wait()
        if first == 4:
            shutil.rmtree(path.parent)
    persistence.close()
    assert caplog.text.count("was removed while it was in use") == 1
    kept = [p.tokens[-3:].tolist() for p in load_learned(path, "f")]
    assert kept == [[first, 7, 8] for first in range(5, 9)]
