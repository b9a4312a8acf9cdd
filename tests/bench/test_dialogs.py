"""Prompt files: what is read, and what is said of one that cannot be."""

import json

import pytest

from aded_edge.bench.dialogs import load_dialogs
from aded_edge.errors import BenchError


def write(path, *rows):
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n", encoding="utf-8")
    return path


def test_a_limit_takes_from_all_categories_in_turn(tmp_path):
    rows = [
        {"question_id": n, "category": category, "turns": [f"{category} {n}"]}
        for category in ("qa", "rag")
        for n in range(3)
    ]
    dialogs = load_dialogs(write(tmp_path / "p.jsonl", *rows), limit=4)
    assert [d.turns[0] for d in dialogs] == ["qa 0", "rag 0", "qa 1", "rag 1"]


def test_categories_of_different_sizes_are_all_read(tmp_path):
    rows = [{"category": "qa", "turns": ["a"]}, {"category": "qa", "turns": ["b", "c"]}]
    rows.append({"category": "rag", "turns": ["d"]})
    dialogs = load_dialogs(write(tmp_path / "p.jsonl", *rows))
    assert [d.turns for d in dialogs] == [("a",), ("d",), ("b", "c")]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no dialogs"),
        ("{}\n", "line 1"),
        ('{"turns": []}\n', "line 1"),
        ('{"turns": ["a"]}\nnot json\n', "line 2"),
        ('{"turns": [3]}\n', "line 1"),
        ("[1]\n", "line 1"),
    ],
)
def test_a_bad_file_is_named_with_its_line(tmp_path, text, says):
    path = tmp_path / "p.jsonl"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BenchError, match=says):
        load_dialogs(path)


def test_a_missing_or_binary_file_is_named(tmp_path):
    with pytest.raises(BenchError, match=r"gone\.jsonl"):
        load_dialogs(tmp_path / "gone.jsonl")
    (tmp_path / "b.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BenchError, match=r"b\.jsonl"):
        load_dialogs(tmp_path / "b.jsonl")
