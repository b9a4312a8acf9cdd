"""Finding and reading texts, and writing whole files."""

import os

import pytest

from aded_edge import files
from aded_edge.errors import BenchError, ConfigError
from aded_edge.files import Skipped, check_picture, find, readable, texts, write_whole

# --- finding --------------------------------------------------------------------------------


def test_a_folder_without_files_is_found_empty(tmp_path):
    skipped = Skipped()
    assert find([tmp_path], skipped) == []
    assert str(skipped) == ""


def test_files_come_in_the_order_given_and_sorted_in_a_folder(tmp_path):
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    for name in ("b.md", "a.md", "sub/c.md"):
        (folder / name).write_text(name)
    (tmp_path / "z.md").write_text("z")
    found = find([tmp_path / "z.md", folder], Skipped())
    assert [file.path.name for file in found] == ["z.md", "a.md", "b.md", "c.md"]
    assert [file.size for file in found] == [1, 4, 4, 8]


def test_a_path_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(ConfigError, match="nowhere cannot be read"):
        find([tmp_path / "nowhere"], Skipped())


def test_few_of_many_unreadable_files_are_named():
    skipped = Skipped()
    for number in range(5):
        skipped.failed(f"file{number}", PermissionError(13, "Permission denied"))
    assert str(skipped).startswith("5 unreadable (file0: Permission denied; file1")
    assert str(skipped).endswith("; 2 more)")


# --- reading --------------------------------------------------------------------------------


def test_broken_characters_are_replaced():
    assert readable("caf\u00e9 ".encode("latin-1") + b"and a long line of plain letters") == (
        "caf\ufffd and a long line of plain letters"
    )
    assert readable(b"\xef\xbb\xbfwith a mark") == "with a mark"
    assert readable(b"a\0b") is None
    assert readable(b"\xff\xfd\xfd\xfc") is None


def test_utf_16_is_read_by_its_mark():
    assert readable("naïve 日本".encode("utf-16")) == "naïve 日本"
    assert readable("naïve".encode("utf-16-le")) is None
    assert readable(b"\xff\xfea") is None  # half a character
    assert readable("a\0b".encode("utf-16")) is None


@pytest.mark.parametrize("line", [b"a line of it\n", b"\xe4\xb8\xad\xe6\x96\x87", b"\x80"])
def test_a_large_file_is_read_in_bounded_pieces(tmp_path, monkeypatch, line):
    monkeypatch.setattr(files, "TEXT_BYTES", 100)
    path = tmp_path / "large.txt"
    path.write_bytes(line * 101)
    pieces = list(texts(path))
    assert b"".join(pieces) == line * 101
    assert all(50 < len(piece) <= 100 for piece in pieces[:-1])
    if line != b"\x80":
        for piece in pieces:
            piece.decode()  # no character is cut in two
    if line.endswith(b"\n"):
        assert all(piece.endswith(b"\n") for piece in pieces)


# --- writing --------------------------------------------------------------------------------


def test_a_file_is_written_with_its_folders(tmp_path):
    path = tmp_path / "new" / "folder" / "file"
    write_whole(path, [b"one ", b"two"])
    assert path.read_bytes() == b"one two"
    assert os.listdir(path.parent) == ["file"]


def test_a_file_is_replaced_whole_or_stays(tmp_path):
    path = tmp_path / "file"
    write_whole(path, [b"old"])

    def pieces():
        yield b"new"
        assert path.read_bytes() == b"old"
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="disk is full"):
        write_whole(path, pieces())
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_picture_needs_a_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: "matplotlib is installed")
    check_picture(tmp_path / "x.png")
    with pytest.raises(BenchError, match="no folder"):
        check_picture(tmp_path / "gone" / "x.png")


def test_a_link_is_followed_and_a_pipe_written_to(tmp_path):
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_whole(tmp_path / "link", [b"ne", b"w"])
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write_whole(tmp_path / "pipe", [b"x", b"y"])
    assert os.read(reader, 10) == b"xy"
    os.close(reader)
