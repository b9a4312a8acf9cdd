"""`bench quarter`: tables, a picture and JSON of a short quarter on a tiny model."""

import json

import pytest

from aded_edge.cli.bench.quarter import show
from aded_edge.cli.main import cli, guarded
from aded_edge.cli.output import console
from tests.bench.quarter.rows import result
from tests.bench.results import needs_matplotlib


@pytest.fixture
def prompts(tmp_path):
    turns = [{"say": "Is tea good?"}, {"say": "Why?", "task": "why"}]
    rows = [{"day": day, "kind": "tea", "turns": turns} for day in (1, 2, 9)]
    path = tmp_path / "mine.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


@needs_matplotlib
def test_a_short_quarter_is_printed_written_and_drawn(tiny_path, tmp_path, prompts, few, capsys):
    out, png = tmp_path / "out.json", tmp_path / "x.png"
    arguments = ["bench", "quarter", str(tiny_path), "--max-tokens", "12", "--threads", "1"]
    arguments += ["--ctx", "512", "--prompts", str(prompts), "--other", str(prompts)]
    arguments += ["--json", str(out)]
    assert guarded(cli, [*arguments, "--limit", "1"]) == 0
    assert len(json.loads(out.read_text(encoding="utf-8"))["rows"]) == 2 * 3
    assert guarded(cli, [*arguments, "--weeks", "1", "--limit", "2", "--png", str(png)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    for word in ("tea", "repeated", "Last 4 weeks", "12 of 12 answers"):
        assert word in said
    assert png.read_bytes().startswith(b"\x89PNG")
    rows = json.loads(out.read_text(encoding="utf-8"))["rows"]
    assert {row["session"] for row in rows} == {"1.1", "2.1"}, "day 9 is in the second week"


def test_the_tables_say_how_many_times_as_fast(capsys):
    show(result(unsure=("8.1",)), console())
    said = " ".join(capsys.readouterr().out.split())
    assert "answers come 2.00 times as fast" in said
    assert "first token 4.00, generation 1.33" in said
    assert "another user's store 1.00 times" in said
    assert "interrupted: 8.1" in said


def test_a_folder_that_is_missing_is_told_before_the_model_is_loaded(tmp_path, capsys):
    out = tmp_path / "nowhere" / "out.json"
    assert guarded(cli, ["bench", "quarter", "no-such-model", "--json", str(out)]) == 1
    assert "nowhere is not a folder" in capsys.readouterr().err
