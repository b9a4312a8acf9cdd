"""Recording with the real model: what it says is what llama_cpp.Llama says."""

import numpy as np
import pytest

from aded_edge.bench.dialogs import load_dialogs
from aded_edge.bench.replay.record import RecordSettings, record
from aded_edge.bench.replay.trace import TOP, Trace
from tests.bench.replay.dialogs import DIALOGS, write_dialogs

TOKENS = 10


@pytest.fixture
def prompts(tmp_path):
    return write_dialogs(tmp_path / "prompts.jsonl", DIALOGS)


@pytest.fixture
def recorded(model_path, prompts, tmp_path, few):
    """Records, and reads what was written."""

    def recorded(limit=None, temperature=0.0, seed=0, ctx=512):
        out = tmp_path / "trace.npz"
        how = {"ctx": ctx, "threads": 1, "gpu_layers": 0, "flash_attn": True}  # as `plain`
        settings = RecordSettings(prompts.name, TOKENS, temperature, seed)
        record(model_path, load_dialogs(prompts, limit), settings, **how).save(out)
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
    write_dialogs(prompts, long)
    trace = recorded(ctx=256)
    assert {(t.dialog, t.turn) for t in trace.turns} == {("7", 0), ("7", 1), ("8", 0), ("9", 0)}
