"""`bench replay`: tables, JSON, and options that reach the drafter."""

import json

import numpy as np
import pytest

from aded_edge.cli.main import cli, guarded
from aded_edge.decode.cost_curve import WIDTHS
from aded_edge.runtime.persistence import Persistence
from tests.bench.replay.drafters import fresh
from tests.bench.replay.traces import CONDITIONS, trace

LAPTOP = {width: 1.0 + 0.10 * (width - 1) for width in WIDTHS}


@pytest.fixture
def file(tmp_path):
    """A trace on disk."""
    path = tmp_path / "trace.npz"
    trace().save(path)
    return path


def replayed(tmp_path, file, *options):
    """Runs the command; returns its JSON."""
    out = tmp_path / "result.json"
    arguments = ["bench", "replay", str(file), "--cost", "laptop", "--json", str(out), *options]
    assert guarded(cli, [*map(str, arguments)]) == 0
    return json.loads(out.read_text(encoding="utf-8"))


def test_the_command_prints_tables_and_writes_json(tmp_path, file, capsys):
    result = replayed(tmp_path, file, "--visits", "3")
    printed = capsys.readouterr().out
    for said in ("visit 1", "visit 3", "MAT", "accepted by depth", "scripted", "qa", "rag", "all"):
        assert said in printed
    assert len(result["visits"]) == 3
    assert result["trace"] == CONDITIONS
    assert result["costs"] == pytest.approx({str(w): cost for w, cost in LAPTOP.items()})
    speeds = [visit["all"]["speedup"] for visit in result["visits"]]
    assert speeds[0] < speeds[1]
    assert f"{speeds[1]:.2f}" in printed


def test_the_options_reach_the_drafter(tmp_path, file):
    plain = replayed(tmp_path, file)
    for options in (
        ["--kappa", "5"],
        ["--longest", "1"],
        ["--soft", "0"],
        ["--hard", "0.1"],
        ["--trusting"],
        ["--leaves", "8"],
        ["--overhead", "0.1"],
        ["--search", "puct"],
    ):
        assert replayed(tmp_path, file, *options)["visits"] != plain["visits"], options


def test_flat_costs_are_met_with_trees(tmp_path, file):
    assert replayed(tmp_path, file)["leaves"] == 1
    assert replayed(tmp_path, file, "--cost", "gpu")["leaves"] == 16


def test_a_warm_drafter_has_been_there_before(tmp_path, file):
    cold = replayed(tmp_path, file)["visits"]
    warm = replayed(tmp_path, file, "--warm", file, "--visits", "1")["visits"]
    assert warm == cold[1:]


def test_a_store_is_what_the_drafter_starts_from(tmp_path, file):
    path = tmp_path / "store.db"
    teacher, memory = fresh(keep_news=True), Persistence(path)
    memory.load(CONDITIONS["fingerprint"], "scripted", teacher)
    for turn in trace().turns:
        teacher.read(np.concatenate((turn.prompt, turn.answer)))
    memory.save(teacher)
    memory.wait()
    memory.close()
    before = path.read_bytes()
    cold = replayed(tmp_path, file)["visits"][0]["all"]
    known = replayed(tmp_path, file, "--store", path)["visits"][0]["all"]
    assert known["speedup"] > 1.2 * cold["speedup"]
    assert path.read_bytes() == before, "nothing is changed"


def test_what_cannot_be_read_or_written_is_told_in_one_line(tmp_path, file, capsys):
    (tmp_path / "text").write_text("no trace\n", encoding="utf-8")
    other = tmp_path / "other.npz"
    trace(1, fingerprint="g" * 32).save(other)
    gone = tmp_path / "gone"
    for options, said in (
        ([gone], "cannot read"),
        ([tmp_path / "text"], "is not a trace"),
        ([file, "--cost", "steep"], "steep"),
        ([file, "--cost", tmp_path], str(tmp_path)),
        ([file, "--cost", tmp_path / "text"], "not a cost curve"),
        ([file, "--warm", gone], "cannot read"),
        ([file, "--warm", other], "another model"),
        ([file, "--store", gone], str(gone)),
        ([file, "--json", gone / "x.json", "--visits", "1"], "cannot write"),
    ):
        assert guarded(cli, ["bench", "replay", *map(str, options)]) == 1, options
        error = capsys.readouterr().err
        assert said in error
        assert len(error.splitlines()) == 1, error
        assert error.startswith("aded-edge: ")
