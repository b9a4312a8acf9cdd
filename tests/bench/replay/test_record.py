"""Recording with the real model: what it says is what llama_cpp.Llama says."""

import json

import numpy as np
import pytest

from aded_edge.bench.replay.record import record
from aded_edge.bench.replay.trace import TOP, Trace
from aded_edge.cli.main import cli, guarded

DIALOGS = [
    {"question_id": 7, "category": "qa", "turns": ["Name a colour.", "And another one?"]},
    {"question_id": 8, "category": "rag", "turns": ["Count from one to five."]},
]
TOKENS = 10


@pytest.fixture
def prompts(tmp_path):
    path = tmp_path / "prompts.jsonl"
    path.write_text("\n".join(json.dumps(dialog) for dialog in DIALOGS) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def recorded(model_path, prompts, tmp_path, few):
    """Records, and reads what was written."""

    def recorded(limit=None, temperature=0.0, seed=0, ctx=512):
        out = tmp_path / "trace.npz"
        how = {"ctx": ctx, "threads": 1, "gpu_layers": 0, "flash_attn": False}
        how |= {"max_tokens": TOKENS, "temperature": temperature, "seed": seed}
        record(model_path, prompts, out, limit, **how)
        return Trace.load(out)

    return recorded


def assert_sane(turn):
    """Candidates in order, with probabilities."""
    n = len(turn.answer)
    assert 0 < n <= TOKENS
    assert turn.top_tokens.shape == turn.top_probs.shape == (n, TOP)
    assert all(len(set(row)) == TOP for row in turn.top_tokens.tolist())
    assert np.all(turn.top_probs > 0)
    assert np.all(np.diff(turn.top_probs, axis=1) <= 0)
    assert np.all(turn.top_probs.sum(axis=1) < 1.01)  # what is hardly likely is left out


def test_greedy_answers_are_those_of_llama_cpp(recorded, plain, truth):
    trace = recorded()
    assert [(t.dialog, t.category, t.turn) for t in trace.turns] == [
        ("7", "qa", 0),
        ("7", "qa", 1),
        ("8", "rag", 0),
    ]
    for turn in trace.turns:
        assert turn.answer.tolist() == truth(turn.prompt.tolist(), len(turn.answer))
        ended = int(turn.answer[-1]) == plain.token_eos()
        assert len(turn.answer) == TOKENS or ended
        assert_sane(turn)
        assert turn.top_tokens[:, 0].tolist() == turn.answer.tolist()
    first, second = trace.turns[:2]
    said = plain.detokenize(first.answer.tolist()).decode()
    assert said in plain.detokenize(second.prompt.tolist(), special=True).decode()


def test_the_conditions_are_kept(recorded, model_path):
    about = recorded(limit=1)
    assert len(about.turns) == 2, "one dialog of two turns"
    assert {1, 2, 4, 8} <= about.cost.keys()
    assert all(seconds > 0 for seconds in about.cost.values())
    conditions = about.conditions
    assert conditions["bytes"] == model_path.stat().st_size
    assert (conditions["max_tokens"], conditions["n_ctx"], conditions["threads"]) == (
        TOKENS,
        512,
        1,
    )
    assert len(conditions["fingerprint"]) == 32
    assert conditions["prompts"] == "prompts.jsonl"


def test_sampled_answers_are_the_same_with_the_same_seed(recorded):
    once, again, other = (recorded(limit=1, temperature=1.5, seed=seed).turns for seed in (3, 3, 4))
    for one, two in zip(once, again, strict=True):
        assert one.answer.tolist() == two.answer.tolist()
        np.testing.assert_array_equal(one.top_tokens, two.top_tokens)
        assert_sane(one)
    assert [t.answer.tolist() for t in once] != [t.answer.tolist() for t in other]
    # The first candidates are those of the prompt, whatever is drawn.
    np.testing.assert_array_equal(once[0].top_tokens[0], other[0].top_tokens[0])


def test_a_dialog_that_outgrows_the_context_ends_there(recorded, prompts):
    long = [*DIALOGS, {"question_id": 9, "turns": ["Hello.", "one two " * 200, "Bye."]}]
    prompts.write_text("\n".join(map(json.dumps, long)), encoding="utf-8")
    trace = recorded(ctx=256)
    assert {(t.dialog, t.turn) for t in trace.turns} == {("7", 0), ("7", 1), ("8", 0), ("9", 0)}


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
