"""Files of the notes that are gone: what conversations were given of them goes, too."""

import logging

import pytest

from aded_edge.assistant.documents import MOST_BYTES
from aded_edge.errors import StoreError
from aded_edge.store import Store, WorkingCopy
from tests.assistant.messages import contents

SECRET = "The zebra crossing behind the lighthouse opens at seven."


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "notes" / "zebra.md"
    path.parent.mkdir()
    path.write_text(SECRET)
    (path.parent / "bread.md").write_text("Bread needs flour.")
    return path


@pytest.fixture
def asked(open_assistant, say, file, tmp_path, monkeypatch):
    """An assistant whose question was given the file, and a copy of it in another conversation."""
    monkeypatch.setattr("aded_edge.assistant.turn.REFRESH_SECONDS", -1.0)
    with Store.open(tmp_path / "store.db") as store:
        store.notes.add_root(str(file.parent))
    assistant = open_assistant(memory_tokens=200)
    for _ in range(2):
        assistant.new()
        say(assistant, "When does the zebra crossing behind the lighthouse open?")
        assert SECRET in assistant.messages[0].given
    assert in_files(tmp_path)
    return assistant


def in_files(tmp_path):
    """Whether the secret is in a file of the program, as text or as tokens of the tiny model."""
    ids = b"".join((3 + byte).to_bytes(4, "little") for byte in SECRET[10:20].encode())
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".md"]
    return any(SECRET.encode() in data or ids in data for data in map(read, files))


def read(path):
    return path.read_bytes()


@pytest.mark.parametrize("how", ["ask", "edit", "added alone"])
def test_its_copies_go_with_the_next_question(asked, say, file, tmp_path, how):
    if how == "added alone":
        with Store.open(tmp_path / "store.db") as store:
            store.notes.add_root(str(file))
            store.notes.remove_root(str(file.parent))
    file.unlink()
    if how != "edit":
        say(asked, "And then?")
    else:
        "".join(asked.edit("And then?"))
    assert all(SECRET not in (message.given or "") for message in asked.messages)
    assert not in_files(tmp_path)
    asked.new()  # saves the KV of the conversation
    asked.llama.wait_for_store()
    assert not in_files(tmp_path)
    asked.resume(2)
    assert [m.content for m in asked.messages[-2:-1]] == ["And then?"]


AWAY = {
    "the folder is away": lambda file: file.parent.rename(file.parent.with_name("away")),
    "the mount point is empty": lambda file: [one.unlink() for one in file.parent.iterdir()],
    "it grew": lambda file: file.write_text(SECRET * (MOST_BYTES // len(SECRET) + 1)),
    "it is binary for a moment": lambda file: file.write_bytes(b"\0" * 9),
    "it is empty for a moment": lambda file: file.write_text(""),
}


@pytest.mark.parametrize("how", AWAY)
def test_a_file_that_may_come_back_keeps_its_copies(asked, say, file, tmp_path, how):
    AWAY[how](file)
    say(asked, "And then?")
    assert SECRET in asked.messages[0].given
    assert in_files(tmp_path)


def test_a_store_that_cannot_be_read_then_stops_no_question(asked, say, file, monkeypatch, caplog):
    def locked(self):
        raise StoreError("the store is locked")

    monkeypatch.setattr(WorkingCopy, "reread", locked)
    file.unlink()
    with caplog.at_level(logging.WARNING):
        assert say(asked, "And then?")
    assert any("the store is locked" in line for line in caplog.messages)
    assert all(SECRET not in (message.given or "") for message in asked.messages)
    assert contents(asked)[2] == "And then?"
    stored = asked._keeping.store.take_up(asked.conversation.id).messages
    assert [m.content for m in stored] == contents(asked)


def test_what_a_reader_keeps_of_it_is_said(asked, say, file, tmp_path, caplog):
    file.unlink()
    with Store.open(tmp_path / "store.db") as other, other._file.reading() as conn:
        conn.execute("SELECT count(*) FROM messages").fetchone()
        with caplog.at_level(logging.WARNING):
            say(asked, "And then?")
    assert any("history delete, without a number" in line for line in caplog.messages)
