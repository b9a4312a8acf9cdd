"""`bench weeks`: recorded sessions, replayed by week."""

import json
from dataclasses import replace

import pytest

from aded_edge.bench.replay.trace import Trace
from aded_edge.cli.main import cli, guarded
from tests.bench.replay.traces import trace


@pytest.fixture
def traces(tmp_path):
    """The paths of a trace of two sessions, and of another user's."""
    turns = trace(answers=2).turns
    days = [replace(turn, dialog=f"{day}.1") for day in (1, 8) for turn in turns]
    paths = tmp_path / "mine.npz", tmp_path / "other.npz"
    for path, held in zip(paths, (days, days[:2]), strict=True):
        Trace(trace().conditions, held).save(path)
    return paths


def test_weeks_are_printed_and_written(traces, tmp_path, capsys):
    out = tmp_path / "out.json"
    arguments = ["bench", "weeks", *map(str, traces), "--cost", "gpu", "--json", str(out)]
    assert guarded(cli, arguments) == 0
    said = capsys.readouterr().out
    assert "kept/empty" in said
    assert "gpu" in said
    written = json.loads(out.read_text(encoding="utf-8"))
    assert {(row["store"], row["week"]) for row in written["weeks"]} == {
        (store, week) for store in ("kept", "empty", "other") for week in (1, 2)
    }
    assert [row["week"] for row in written["read"]] == [1, 2]


def test_a_trace_of_other_prompts_is_refused(traces, tmp_path, capsys):
    path = tmp_path / "spec.npz"
    trace().save(path)
    assert guarded(cli, ["bench", "weeks", str(traces[0]), str(path)]) == 1
    assert "--prompts quarter" in capsys.readouterr().err
