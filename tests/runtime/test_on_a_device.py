"""The loop and a context of llama.cpp: whatever is drafted, the tokens are the model's own.

scripts/test-gpu runs this, and all tests with tiny models, where a device evaluates: it works on
between `submit` and `collect`, rounds otherwise than the CPU, and is slow in its own ways.
"""

import itertools
import time

import llama_cpp
import numpy as np
import pytest

from aded_edge.decode.budget import FixedBudget
from aded_edge.decode.loop import Loop
from aded_edge.draft.tree import ROOT, DraftTree
from aded_edge.llamacpp import offloading
from aded_edge.runtime import costs
from tests.runtime.helpers import ASKED, assert_in_agreement, logits

TOKENS = 150
MARGIN = 0.05
"""Another history changes logits by whole units."""


@pytest.fixture(scope="module")
def trees(loader, tiny_settings):
    """A tiny model whose context is open for trees."""
    with loader() as load:
        yield load(**tiny_settings, drafting="paper")


def chain(tokens):
    return DraftTree.build(tokens, range(ROOT, len(tokens) - 1))


def wrong(token):
    return (token + 1) % 250


def right(following):
    return chain(following[:12])


def wrong_at_once(following):
    return chain([wrong(token) for token in following[:12]])


def wrong_in_the_middle(following):
    return chain([*following[:4], *map(wrong, following[4:12])])


def right_in_the_last_branch(following):
    """Three wrong branches before it; it parts from the first one behind a common token."""
    tokens, parents = [following[0], wrong(following[1])], [ROOT, 0]
    for other in (1, 2):
        tokens += [(following[0] + other) % 250, 7]
        parents += [ROOT, len(tokens) - 2]
    for depth, token in enumerate(following[1:9]):
        parents.append(0 if depth == 0 else len(tokens) - 1)
        tokens.append(token)
    return DraftTree.build(tokens, parents)


def a_bush(following):
    """Nodes at random, among them the right ones at each depth."""
    rng = np.random.default_rng(following[0])
    tokens, parents, end = [], [], ROOT
    for token in following[:6]:
        for _ in range(int(rng.integers(0, 4))):
            tokens.append(int(rng.integers(3, 250)))
            parents.append(int(rng.integers(ROOT, len(tokens) - 1)))
        tokens.append(token)
        parents.append(end)
        end = len(tokens) - 1
    return DraftTree.build(tokens, parents)


class Forced:
    """Drafts from the answer itself, as `make` does; notes whether an evaluation ran at `learn`."""

    def __init__(self, make, target, answer):
        self._make, self._target, self._answer = make, target, answer
        self.while_evaluating = []

    def draft(self, history, root, most, worth):
        place = len(history) + 1 - len(ASKED)
        return self._make(self._answer[place:])

    def learn(self, *steps):
        self.while_evaluating.append(bool(self._target.ticket))


@pytest.mark.parametrize(
    "make", [right, wrong_at_once, wrong_in_the_middle, right_in_the_last_branch, a_bush]
)
def test_forced_drafts_give_the_model_s_own_tokens(trees, tiny_truth, make):
    answer = tiny_truth(ASKED, TOKENS + 20)
    drafter = Forced(make, trees._target, answer)
    loop = Loop(trees._target, drafter, FixedBudget(40))
    trees.reset()
    trees.eval(ASKED)
    stream = loop.run(lambda row, logits: int(logits.argmax()))
    assert list(itertools.islice(stream, TOKENS)) == answer[:TOKENS]
    stream.close()
    assert (loop.meter.accepted > TOKENS / 2) == (make is not wrong_at_once)
    assert loop.meter.drafted > loop.meter.accepted or make is right
    assert drafter.while_evaluating[0]  # while a device evaluates there is time to learn
    assert_in_agreement(trees)
    history = trees.input_ids[: trees.n_tokens].tolist()
    nothing = np.empty(0, np.int32)
    after = trees._target.evaluate(answer[TOKENS - 1], nothing, nothing)[0].copy()
    trees.reset()
    trees.eval([*history, answer[TOKENS - 1]])
    assert np.abs(after - logits(trees)).max() < MARGIN


class SlowDevice:
    """A clock that only evaluations advance: by their rows, and where a width is new by more.

    Devices compile a kernel when they first need it, and work on when `llama_decode` has returned.
    """

    def __init__(self, row, new):
        self.now, self.longest, self.widths = 0.0, 0.0, set()
        self._row, self._new, self._working = row, new, 0.0

    def wait(self):
        self.now, self._working = self.now + self._working, 0.0

    def decoding(self, real):
        def decode(context, batch):
            self.wait()
            rows = batch.n_tokens
            self._working = rows * self._row + (0.0 if rows in self.widths else self._new)
            self.widths.add(rows)
            self.longest = max(self.longest, self._working)
            return real(context, batch)

        return decode

    def waiting(self, real):
        def logits(*arguments):
            self.wait()
            return real(*arguments)

        return logits


@pytest.mark.parametrize(("row", "new"), [(1e-4, 0), (1e-4, 0.4), (1e-4, 5), (0.02, 0), (0.5, 3)])
@pytest.mark.parametrize("drafting", ["auto", "paper"])
def test_the_first_measurement_keeps_its_time(load_tiny, monkeypatch, drafting, row, new):
    device = SlowDevice(row, new)
    for module in (llama_cpp, llama_cpp.llama_cpp):
        monkeypatch.setattr(module, "llama_decode", device.decoding(module.llama_decode))
        for name in ("llama_get_logits", "llama_get_logits_ith"):
            monkeypatch.setattr(module, name, device.waiting(getattr(module, name)))
    monkeypatch.setattr(time, "perf_counter", lambda: device.now)
    monkeypatch.setattr(costs, "MEASURE_SECONDS", 2.0)
    slow = offloading.Device("Slow0", "a device that compiles its kernels when it needs them")
    monkeypatch.setattr(offloading, "evaluating", lambda _: [slow])
    llama = load_tiny(drafting=drafting, n_ctx=512)
    assert device.now <= 2.0 + 3 * device.longest
    if drafting == "auto":
        assert llama.costs[1] == pytest.approx(row)  # and not what compiling took
    assert llama.n_tokens == 0
    assert_in_agreement(llama)
