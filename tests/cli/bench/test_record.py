"""`bench record`: writes what `bench replay` reads."""

import pytest

from aded_edge.bench.replay.trace import Trace
from aded_edge.cli.main import cli, guarded
from tests.bench.replay.dialogs import DIALOGS, write_dialogs


@pytest.fixture
def prompts(tmp_path):
    return write_dialogs(tmp_path / "prompts.jsonl", DIALOGS)


def test_the_command_records_what_replay_reads(model_path, prompts, tmp_path, few, capsys):
    out = tmp_path / "trace.npz"
    how = ["--max-tokens", "4", "--ctx", "256", "--threads", "1", "--limit", "1"]
    paths = ["--prompts", str(prompts), "--out", str(out)]
    assert guarded(cli, ["bench", "record", str(model_path), *paths, *how]) == 0
    assert "2 answers" in capsys.readouterr().out
    assert guarded(cli, ["bench", "replay", str(out), "--cost", "laptop"]) == 0
    assert "SmolLM2" in capsys.readouterr().out


@pytest.mark.parametrize("bad", ["model", "prompts"])
def test_what_cannot_be_read_is_told_in_one_line(bad, model_path, prompts, tmp_path, capsys):
    gone = str(tmp_path / "gone")
    model = gone if bad == "model" else str(model_path)
    asked = gone if bad == "prompts" else str(prompts)
    arguments = ["bench", "record", model, "--prompts", asked, "--out", str(tmp_path / "t.npz")]
    assert guarded(cli, arguments) == 1
    said = capsys.readouterr().err
    assert "gone" in said
    assert len(said.splitlines()) == 1


def test_the_sessions_in_the_package_are_recorded_in_their_order(tiny_path, tmp_path, few):
    out = tmp_path / "trace.npz"
    how = ["--max-tokens", "2", "--ctx", "4096", "--threads", "1", "--limit", "2"]
    prompts = ["--prompts", "other", "--out", str(out)]
    assert guarded(cli, ["bench", "record", str(tiny_path), *prompts, *how]) == 0
    trace = Trace.load(out)
    assert trace.conditions["prompts"] == "other"
    assert [(t.dialog, t.turn) for t in trace.turns] == [
        *(("1.1", turn) for turn in range(3)),
        *(("1.2", turn) for turn in range(2)),
    ]
