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
    assert result["traces"] == [CONDITIONS]
    costs = result["machines"]["laptop"]["costs"]
    assert costs == pytest.approx({str(w): cost for w, cost in LAPTOP.items()})
    speeds = [visit["categories"]["all"]["speedup"] for visit in result["visits"]]
    assert speeds == [visit["speedups"]["auto"] for visit in result["visits"]]
    assert speeds[0] < speeds[1]
    assert f"{speeds[1]:.2f}" in printed


def test_all_machines_and_peers_come_in_one_table(tmp_path, file, capsys):
    sampled = [tmp_path / "one.npz", tmp_path / "other.npz"]
    for seed, path in enumerate(sampled):
        trace(temperature=0.8, seed=seed).save(path)
    result = replayed(tmp_path, file, *sampled, "--cost", "machines")
    lines = capsys.readouterr().out.splitlines()
    machines = list(result["machines"])
    assert len(machines) == 11
    assert all(result["machines"][name]["source"] for name in machines)
    head = next(line.split() for line in lines if line.split()[:1] == ["machine"])
    assert head[1:] == ["auto", "2", "10", "simple", "mod", "paper"]
    tables = ["greedy, visit 1", "greedy, visit 2", "temperature 0.8, visit 1"]
    for title in tables:
        at = next(n for n, line in enumerate(lines) if line.strip() == title)
        below = [line.split() for line in lines[at + 1 : at + 12]]
        assert [row[0] for row in below] == machines
        assert all(len(row) == 7 and float(row[1]) > 0.9 for row in below)
    assert len(result["visits"]) == 4 * 11
    assert max(map(len, lines)) <= 80


def test_who_is_ahead_of_us_is_named(tmp_path, file, capsys):
    replayed(tmp_path, file, "--search", "puct", "--visits", "1")
    said = capsys.readouterr().out
    assert "laptop, greedy, visit 1: lookup-2 is ahead of auto" in said


def test_a_file_of_several_curves_is_a_table_too(tmp_path, file):
    path = tmp_path / "costs.json"
    one, other = {"costs": {"1": 1, "8": 1.5}, "source": "me"}, {"costs": {"1": 2, "8": 9}}
    path.write_text(json.dumps({"one": one, "other": other}), encoding="utf-8")
    result = replayed(tmp_path, file, "--cost", path)
    assert list(result["machines"]) == ["one", "other"]
    assert [(visit["machine"], visit["visit"]) for visit in result["visits"]] == [
        ("one", 1),
        ("one", 2),
        ("other", 1),
        ("other", 2),
    ]


def test_a_transcript_is_replayed_and_says_what_it_lacks(tmp_path, model_path, capsys):
    path = tmp_path / "runs.jsonl"
    said = [{"role": "assistant", "content": "one two three four " * 9}]
    run = {"messages": [{"role": "user", "content": "Count."}, *said]}
    path.write_text(json.dumps(run) + "\n", encoding="utf-8")
    result = replayed(tmp_path, path, "--model", model_path, "--cost", "gpu")
    assert result["visits"][0]["speedups"]["auto"] > 1.5
    printed = capsys.readouterr().out
    (line,) = [line for line in printed.splitlines() if "temperature" in line]
    assert line.startswith("runs.jsonl is a transcript")
    assert "no probabilities, so there are no figures at temperature 0.8" in line
    assert guarded(cli, ["bench", "replay", str(path), "--model", str(model_path)]) == 1
    assert "a transcript has no measured costs" in capsys.readouterr().err


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


@pytest.mark.parametrize(("cost", "leaves"), [("laptop", "1"), ("gpu", "16")])
def test_flat_costs_are_met_with_trees(tmp_path, file, cost, leaves):
    chosen = replayed(tmp_path, file, "--cost", cost)
    assert (
        chosen["visits"] == replayed(tmp_path, file, "--cost", cost, "--leaves", leaves)["visits"]
    )


def test_a_warm_drafter_has_been_there_before(tmp_path, file):
    cold = replayed(tmp_path, file)["visits"]
    (warm,) = replayed(tmp_path, file, "--warm", file, "--visits", "1")["visits"]
    assert warm == cold[1] | {"visit": 1}


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
    cold = replayed(tmp_path, file)["visits"][0]["speedups"]
    known = replayed(tmp_path, file, "--store", path)["visits"][0]["speedups"]
    assert known["auto"] > 1.2 * cold["auto"]
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
        ([file, file], "different seeds"),
        ([file, other], "several models"),
        ([tmp_path / "gone.jsonl"], "cannot read"),
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
