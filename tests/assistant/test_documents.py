"""Files cut into passages, and folders whose files change."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aded_edge.assistant.documents import PASSAGE, passages, read_text, refresh
from aded_edge.errors import ConfigError
from aded_edge.store import Store


@pytest.fixture
def notes(tmp_path):
    with Store.open(tmp_path / "store.db") as store:
        yield store.notes


def found(notes, word):
    return [passage.path.rpartition("/")[2] for passage in notes.match([word], 9)]


def test_folders_are_followed(notes, tmp_path):
    folder = tmp_path / "n"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.md").write_text("tides and moon")
    (folder / "sub" / "b.txt").write_text("bread and butter")
    (folder / "sub" / ".hidden").touch()
    (folder / "c.bin").write_bytes(b"\0\1tides")
    notes.add_root(str(folder))
    assert refresh(notes)[:4] == (2, 0, 0, 2)
    assert found(notes, "tides") == ["a.md"]
    assert refresh(notes)[:4] == (0, 0, 0, 2)
    (folder / "a.md").write_text("now about whales")
    os.utime(folder / "a.md", ns=(1, 1))
    (folder / "sub" / "b.txt").unlink()
    assert refresh(notes)[:4] == (0, 1, 1, 1)
    assert found(notes, "whales") == ["a.md"]
    assert found(notes, "tides") == found(notes, "bread") == []


def test_a_place_that_is_away_keeps_its_documents(notes, tmp_path):
    folder = tmp_path / "n"
    folder.mkdir()
    (folder / "a.md").write_text("tides")
    notes.add_root(str(folder))
    refresh(notes)
    folder.rename(tmp_path / "away")
    assert refresh(notes)[:4] == (0, 0, 0, 1)
    assert found(notes, "tides") == ["a.md"]
    notes.remove_root(str(folder))
    assert refresh(notes)[:4] == (0, 0, 1, 0)


def test_progress_ends_with_all(notes, tmp_path):
    folder = tmp_path / "n"
    folder.mkdir()
    for n in range(3):
        (folder / f"{n}.md").write_text("x")
    notes.add_root(str(folder))
    seen = []
    refresh(notes, lambda done, planned: seen.append((done, planned)))
    assert seen[-1] == (3, 3)


def test_passages_say_where_they_begin():
    text = "# One\n\n" + "a " * 200 + "\n\n# Two\nsecond\n"
    assert [(line, piece[:5]) for line, piece in passages(text)] == [(1, "# One"), (5, "# Two")]


@given(st.text(st.sampled_from("ab \n#"), max_size=3000))
def test_nothing_is_lost_between_passages(text):
    pieces = list(passages(text))
    assert "".join("".join(p.split()) for _, p in pieces) == "".join(text.split())
    lines = text.splitlines()
    for line, piece in pieces:
        assert 1 <= line <= len(lines)
        assert piece.split("\n")[0] in lines[line - 1]
        assert len(piece) <= 2 * PASSAGE + 2


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "no file"),
        (lambda path: path.mkdir(), "is a folder"),
        (lambda path: path.write_bytes(b"\0\1\2"), "no text in UTF-8"),
    ],
)
def test_what_is_no_text_is_refused(tmp_path, make, words):
    make(tmp_path / "x")
    with pytest.raises(ConfigError, match=words):
        read_text(tmp_path / "x")
