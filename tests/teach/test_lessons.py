"""Lessons: what is taught is in the store at once, beside what chats learn."""

from contextlib import closing

import numpy as np
import pytest

from aded_edge.errors import StoreError
from aded_edge.runtime import persistence as persistence_module
from aded_edge.runtime.persistence import Persistence
from aded_edge.store import LearnedText, Store
from aded_edge.teach import lessons as lessons_module
from aded_edge.teach.lessons import Lessons, lessons_of
from tests.runtime.learners import TEXT, drafter, matrix_row, part, remember


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
    assert matrix_row(remember(tmp_path / "store.db"), 5, 6)[0] == [7]


def test_lessons_know_what_a_chat_learned_and_what_they_taught(tmp_path, lessons):
    remember(tmp_path / "store.db", [1, 2, 3])
    own = lessons()
    own.add(part(TEXT))
    for context, follows in (((1, 2), 3), ((5, 6), 7)):
        assert matrix_row(own.drafter, *context)[0] == [follows]


def test_a_part_with_foreign_tokens_gets_into_no_sum(tmp_path, caplog):
    path = tmp_path / "store.db"
    remember(path, TEXT, [1, 2, 300])
    with caplog.at_level("WARNING"), closing(Lessons(path, "f", "name", n_vocab=100)) as own:
        own.add(part([20, 21, 22]))
        own.fold()
    assert sum("has tokens that name does not have" in line for line in caplog.messages) == 1
    chat, persistence = drafter(), Persistence(path)
    persistence.load("f", "name", chat, n_vocab=100)
    persistence.close()
    assert matrix_row(chat, 5, 6)[0] == [7]
    assert matrix_row(chat, 20, 21)[0] == [22]
    assert matrix_row(chat, 1, 2)[0] == []


def test_lessons_of_a_model_know_its_vocabulary(load_tiny, tmp_path):
    path, llama = tmp_path / "store.db", load_tiny(drafting="off")
    foreign = part([1, 2, llama.n_vocab()])
    with closing(lessons_of(llama, path)) as own:
        own.add(part(TEXT))
        own.add(foreign)
    with closing(lessons_of(llama, path)) as own:
        assert matrix_row(own.drafter, 5, 6)[0] == [7]
        assert matrix_row(own.drafter, 1, 2)[0] == []


def test_a_text_taught_meanwhile_keeps_its_part_out(lessons):
    one, other = lessons(), lessons()
    noted = [LearnedText("a" * 64, "a.md", 8)]
    assert one.add(part(TEXT), noted)
    assert not other.add(part(TEXT), noted)
    assert other.known(["a" * 64, "b" * 64]) == {"a" * 64}
    assert matrix_row(other.drafter, 5, 6)[0] == []


@pytest.mark.parametrize("bound", [("MOST_PARTS", 2), ("MOST_TOKENS", 20)])
def test_two_teachers_and_a_chat_lose_and_double_nothing_while_all_fold(
    tmp_path, lessons, monkeypatch, bound
):
    for module in (persistence_module, lessons_module):
        if hasattr(module, bound[0]):
            monkeypatch.setattr(module, *bound)
    path = tmp_path / "store.db"
    teachers, persistence, own = [lessons(), lessons()], Persistence(path), drafter()
    persistence.load("f", "name", own)
    for turn in range(8):
        for who, teacher in enumerate(teachers):
            teacher.add(part([100 * who + turn, 7, 1000 + 100 * who + turn]))
        own.read(np.asarray([200 + turn, 7, 1200 + turn], np.int32))
        persistence.save(own)
        persistence.wait()
    persistence.close()
    with Store.open(path) as store:
        parts, _ = store.model("f", "name").load()
        assert len(parts) < 18
        tokens = np.concatenate([part.tokens for part in parts])
    for who in range(2):  # not the chat: each of its parts repeats the end of the one before
        for turn in range(8):
            assert np.count_nonzero(tokens == 1000 + 100 * who + turn) == 1
    both = remember(path)
    for who in range(3):
        for turn in range(8):
            row = matrix_row(both, 100 * who + turn, 7)
            assert row == ([1000 + 100 * who + turn], [1.0])


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
    again = lessons()  # knows both parts, and replaces them first
    again.fold()
    one.fold()
    for own in (one, again, lessons()):
        assert matrix_row(own.drafter, 1, 2) == ([3], [1.0])
        assert matrix_row(own.drafter, 5, 6) == ([7], [1.0])
