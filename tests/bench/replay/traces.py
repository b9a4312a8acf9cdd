"""Traces made without a model."""

import numpy as np

from aded_edge.bench.replay.trace import TOP, Trace, Turn
from aded_edge.decode.candidates import top_candidates
from aded_edge.decode.cost_curve import WIDTHS
from tests.scripted import ScriptedTarget

VOCABULARY = 24
COST = {str(width): 0.01 * (1 + 0.2 * (width - 1)) for width in WIDTHS}
CONDITIONS = {
    "model": "scripted",
    "fingerprint": "f" * 32,
    "prompts": "made-up.jsonl",
    "max_tokens": 60,
    "temperature": 0.0,
    "seed": 0,
    "cost": COST,
}


def scripted(seed=0):
    """A model of three tokens of context that is fairly sure of what it says."""
    return ScriptedTarget.ngram(VOCABULARY, order=3, seed=seed, sharpness=3.0)


def answered(target, prompt, n):
    """What the target says behind a prompt, greedily, and its candidates at every token."""
    target.read(prompt)
    path, tokens, probs = [], [], []
    for _ in range(n):
        top = top_candidates(target.behind(path)[np.newaxis], TOP)
        path.append(int(top[0][0, 0]))
        tokens.append(top[0])
        probs.append(top[1])
    return path, np.concatenate(tokens), np.concatenate(probs)


def trace(answers=6, tokens=60, seed=0, **conditions):
    """Answers of two categories in turn; each prompt has a phrase of its own and a common one."""
    rng = np.random.default_rng(seed)
    target, turns = scripted(), []
    for n in range(answers):
        prompt = [*rng.integers(0, VOCABULARY, 8).tolist(), 1, 2, 3, n % 3]
        said, top_tokens, top_probs = answered(target, prompt, tokens - n)
        arrays = np.asarray(prompt, np.int32), np.asarray(said, np.int32), top_tokens, top_probs
        turns.append(Turn(str(n), ["qa", "rag"][n % 2], 0, *arrays))
    return Trace({**CONDITIONS, "seed": seed, **conditions}, turns)


def assert_same(one, other):
    """Two traces hold the same."""
    assert one.conditions == other.conditions
    assert len(one.turns) == len(other.turns)
    for a, b in zip(one.turns, other.turns, strict=True):
        assert (a.dialog, a.category, a.turn) == (b.dialog, b.category, b.turn)
        for name in ("prompt", "answer", "top_tokens", "top_probs"):
            assert getattr(a, name).dtype == getattr(b, name).dtype
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
