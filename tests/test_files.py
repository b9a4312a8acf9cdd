"""Files: which are text, and in which pieces a large one is read."""

import pytest

from aded_edge import files
from aded_edge.files import Skipped, find, readable, texts


def test_broken_characters_are_replaced():
    assert readable("caf\u00e9 ".encode("latin-1") + b"and a long line of plain letters") == (
        "caf\ufffd and a long line of plain letters"
    )
    assert readable(b"\xef\xbb\xbfwith a mark") == "with a mark"
    assert readable(b"a\0b") is None
    assert readable(b"\xff\xfe\xfd\xfc") is None


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


def test_a_folder_without_files_is_found_empty(tmp_path):
    skipped = Skipped()
    assert find([tmp_path], skipped) == []
    assert str(skipped) == ""
