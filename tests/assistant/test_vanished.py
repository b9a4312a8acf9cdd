"""What became of documents whose files were not found again."""

import os

import pytest

from aded_edge.assistant.documents import name_of, refresh
from aded_edge.assistant.vanished import Fate, Vanished
from aded_edge.store import Document, Store


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "n"
    (path / "sub").mkdir(parents=True)
    for name in ("a.md", "other.md", "sub/b.md", "sub/other.md"):
        (path / name).write_text("tides")
    return path


def fate(path):
    return Vanished().fate(name_of(path))


@pytest.mark.parametrize("name", ["a.md", "sub/b.md"])
def test_a_file_that_is_not_in_its_folder_is_deleted(folder, name):
    (folder / name).unlink()
    assert fate(folder / name) is Fate.DELETED


@pytest.mark.parametrize("name", ["a.md", "sub"])
def test_what_is_there_is_not_deleted(folder, name):
    assert fate(folder / name) is Fate.NO_DOCUMENT


def test_a_link_to_nothing_is_not_deleted(folder):
    (folder / "a.md").unlink()
    (folder / "a.md").symlink_to(folder / "nowhere" / "a.md")
    assert fate(folder / "a.md") is Fate.NO_DOCUMENT


def test_a_name_that_cannot_be_decoded_is_found_again(folder):
    path = folder / os.fsdecode(b"caf\xe9.md")
    path.write_bytes(b"\0")
    assert fate(path) is Fate.NO_DOCUMENT
    path.unlink()
    assert fate(path) is Fate.DELETED


def test_an_empty_folder_may_be_a_mount_point(folder):
    for name in ("b.md", "other.md"):
        (folder / "sub" / name).unlink()
    assert fate(folder / "sub" / "b.md") is Fate.AWAY
    assert fate(folder / "sub" / "deep" / "deeper" / "c.md") is Fate.AWAY


def test_a_folder_that_is_gone_may_come_back(folder):
    (folder / "sub").rename(folder.parent / "elsewhere")
    assert fate(folder / "sub" / "b.md") is Fate.NO_DOCUMENT


@pytest.mark.parametrize("refused", ["listdir", "stat"])
def test_what_must_not_be_read_is_away(folder, monkeypatch, refused):
    name = name_of(folder / "sub" / "b.md")

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:  # not chmod: root may read everything
        patch.setattr(f"aded_edge.assistant.vanished.os.{refused}", refuse)
        found = Vanished().fate(name)
    assert found is Fate.AWAY


@pytest.mark.parametrize("alone", [True, False])
def test_a_mount_point_keeps_documents_whether_file_or_folder_was_added(tmp_path, alone):
    disk = tmp_path / "disk"
    disk.mkdir()
    (disk / "a.md").write_text("tides")
    with Store.open(tmp_path / "store.db") as store:
        store.notes.add_root(str(disk / "a.md" if alone else disk))
        refresh(store.notes)
        (disk / "a.md").unlink()
        assert refresh(store.notes)[:4] == (0, 0, 0, 1)
        assert store.notes.match(["tides"], 9)


@pytest.mark.parametrize("removed", [True, False])
def test_only_a_removed_place_forgets_files_that_are_there(tmp_path, monkeypatch, removed):
    path = tmp_path / "n" / "a.md"
    path.parent.mkdir()
    path.write_text("tides")
    forgotten = []
    with Store.open(tmp_path / "store.db") as store:
        store.notes.add_root(str(path.parent))
        refresh(store.notes)
        assert isinstance(store.notes.documents()[str(path)], Document)
        forget = type(store.notes).forget
        monkeypatch.setattr(
            type(store.notes),
            "forget",
            lambda n, names: forgotten.extend(names) or forget(n, names),
        )
        if removed:
            store.notes.remove_root(str(path.parent))
        else:
            path.write_bytes(b"\0\1")
        assert refresh(store.notes)[:4] == (0, 0, 1, 0)
        assert not store.notes.match(["tides"], 9)
    assert forgotten == ([str(path)] if removed else [])
