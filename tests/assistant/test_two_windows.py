"""One conversation in two windows, and a store that vanishes: nothing said is lost, and it is told.

The second window is another `Assistant` with its own connection, or another process.
"""

import logging
import shutil
import subprocess
import sys

import pytest

from aded_edge.store import Store
from tests.assistant.messages import contents, on_disk


@pytest.fixture
def both(open_assistant, say):
    """Two assistants that have conversation 1 open; it has one turn."""
    a, b = open_assistant(), open_assistant()
    say(a, "one")
    b.resume(1)
    return a, b


def questions(tmp_path, number=1):
    return on_disk(tmp_path, number)[::2]


def told(caplog):
    return [line for line in caplog.messages if "in another window" in line]


def test_both_turns_are_on_disk_in_order(both, say, tmp_path, caplog):
    a, b = both
    with caplog.at_level(logging.WARNING):
        for text in ("two", "three"):
            say(a, f"a {text}")
            say(b, f"b {text}")
    assert questions(tmp_path) == ["one", "a two", "b two", "a three", "b three"]
    assert contents(a)[::2] == ["one", "a two", "a three"]
    assert len(told(caplog)) == 2  # once in each window
    assert "/resume 1" in told(caplog)[0]
    a.resume(1)
    assert contents(a) == on_disk(tmp_path)


@pytest.mark.parametrize("what", ["undo", "regenerate", "edit", "set_system", "late"])
def test_the_others_turn_stays(both, say, tmp_path, what, monkeypatch):
    a, b = both
    say(b, "theirs")
    if what == "undo":
        a.undo()
    elif what == "regenerate":
        list(a.regenerate())
    elif what == "edit":
        list(a.edit("changed"))
    elif what == "set_system":
        a.set_system("Be brief.")
    else:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(a._keeping), "writes", False)
            say(a, "two")
        say(a, "three")
    expected = {
        "undo": ["theirs"],
        "regenerate": ["theirs", "one"],
        "edit": ["theirs", "changed"],
        "set_system": ["one", "theirs"],
        "late": ["one", "theirs", "two", "three"],
    }
    assert questions(tmp_path) == expected[what]
    say(b, "more")
    assert questions(tmp_path) == [*expected[what], "more"]


def delete_elsewhere(tmp_path, number):
    command = [sys.executable, "-m", "aded_edge", "history", "delete", "--yes", str(number)]
    store = ["--store", str(tmp_path / "store.db")]
    subprocess.run([*command, *store], check=True, capture_output=True)


def test_what_is_deleted_elsewhere_stays_deleted(assistant, say, tmp_path, caplog):
    say(assistant, "secret one")
    delete_elsewhere(tmp_path, 1)
    with caplog.at_level(logging.WARNING):
        answer = say(assistant, "two")
    assert on_disk(tmp_path, 1) == []
    assert on_disk(tmp_path, 2) == ["two", answer] == contents(assistant)
    assert len(told(caplog)) == 1
    say(assistant, "three")
    assert questions(tmp_path, 2) == ["two", "three"]
    assistant.close()
    with Store.open(tmp_path / "store.db") as store:
        assert store.conversations.search("secret") == []
        kept = store.conversations.get(2)
        assert not store.conversations.delete(kept).merged
        assert [size.parts for size in store.sizes()] == [0]
    assert b"secret" not in (tmp_path / "store.db").read_bytes()


@pytest.mark.parametrize("then", ["leave", "undo", "system"])
def test_it_does_not_come_back_in_other_ways(assistant, say, tmp_path, then):
    say(assistant, "secret one")
    delete_elsewhere(tmp_path, 1)
    if then == "undo":
        assistant.undo()
    elif then == "system":
        assistant.set_system("Be brief.")
    assistant.close()
    with Store.open(tmp_path / "store.db") as store:
        assert store.conversations.count() == 0
    assert list((tmp_path / "kv").glob("*")) == []


def test_turns_that_were_refused_are_written_before_it_is_read_again(assistant, say, tmp_path):
    say(assistant, "one")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(assistant._keeping), "writes", False)
        say(assistant, "two")
        assert not assistant.kept
    assistant.resume(1)
    assert contents(assistant)[::2] == ["one", "two"] == questions(tmp_path)
    assert assistant.kept


def test_a_refused_undo_is_written_later(assistant, say, tmp_path):
    say(assistant, "one")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(assistant._keeping), "writes", False)
        assistant.undo()
    assistant.close()
    assert on_disk(tmp_path) == []


@pytest.mark.parametrize("gone", ["removed", "replaced"])
def test_a_store_that_vanishes_is_written_anew(open_assistant, say, tmp_path, caplog, gone):
    folder = tmp_path / "data"
    assistant = open_assistant(store=folder / "store.db")
    say(assistant, "one")
    assistant.llama.wait_for_store()
    shutil.rmtree(folder)
    if gone == "replaced":
        with Store.open(folder / "store.db"):
            pass
    with caplog.at_level(logging.WARNING):
        say(assistant, "two")
        assistant.llama.wait_for_store()
        assert assistant.kept
        assert on_disk(folder) == contents(assistant)
        say(assistant, "three")
    assert questions(folder) == ["one", "two", "three"]
    assert sum("while it was in use" in line for line in caplog.messages) == 1
    assistant.llama.wait_for_store()
    with Store.open(folder / "store.db") as store:
        assert [size.parts for size in store.sizes()] == [2]  # what two answers taught


def test_a_store_that_cannot_be_made_anew_is_not_called_kept(open_assistant, say, tmp_path):
    folder = tmp_path / "data"
    assistant = open_assistant(store=folder / "store.db")
    say(assistant, "one")
    assert assistant.kept
    shutil.rmtree(folder)
    folder.write_text("no folder")
    say(assistant, "two")
    assert not assistant.kept
    folder.unlink()
    say(assistant, "three")
    assert assistant.kept
    assert questions(folder) == ["one", "two", "three"]


def test_what_was_taken_back_is_in_no_saved_state(assistant, say, tmp_path):
    say(assistant, "one")
    assistant.undo()
    assistant.close()
    assert list((tmp_path / "kv").glob("*")) == []
