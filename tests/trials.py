"""What a model of some architecture is put through: forced drafts, states, prefixes.

Random weights draft badly, so the drafts are made from the plain answer. Used by
tests/runtime/test_architectures.py, and by scripts/model-card, which writes the results down.
"""

import contextlib
import itertools
from dataclasses import dataclass, field

import llama_cpp
import numpy as np
import pytest

from aded_edge import Llama
from aded_edge.decode.budget import FixedBudget
from aded_edge.decode.cost_curve import CostCurve
from aded_edge.draft.drafter import AdaptiveDrafter
from aded_edge.draft.tree import DraftTree
from tests.draft.reading import chain
from tests.gguf_files import TOKENS

PROMPT = [1, *b"What is said of tides, moons and oceans by those who sail?"]
OTHER = [1, *b"A second question."]
LONG = 300
"""Tokens of an answer."""

NODES = 15
"""Tokens of a draft, at most."""

SETTINGS = {"n_ctx": 1024, "n_threads": 1, "n_threads_batch": 1, "verbose": False}
PRECISE = {"type_k": 0, "type_v": 0, "flash_attn": False}
"""With a float32 KV cache the order of its cells hardly counts."""


def _wrong(token):
    return (token + 1) % len(TOKENS)


def perfect(right, random):
    return chain(right)


def adversarial(right, random):
    """Right up to some place, then wrong: every depth of a removal comes."""
    turn = int(random.integers(len(right) + 1))
    return chain([*right[:turn], *map(_wrong, right[turn:])])


def at_random(right, random):
    return chain(random.integers(0, len(TOKENS), len(right)).tolist())


def bushy(right, random):
    """A tree: beside every right token a wrong one, which comes first."""
    tokens, parents, above = [], [], -1
    for token in right[: len(right) // 2]:
        tokens += [_wrong(token), token]
        parents += [above, above]
        above = len(tokens) - 1
    return DraftTree.build(tokens, parents)


CHAINS = {"perfect": perfect, "adversarial": adversarial, "random": at_random}


class ForcedDrafter(AdaptiveDrafter):
    """Drafts what `make(right tokens, random)` returns, from a text that is known beforehand."""

    def __init__(self, text, make, seed=0):
        super().__init__()
        self._text, self._make, self._random = text, make, np.random.default_rng(seed)

    def draft(self, history, root, max_nodes, worth=0.0):
        begin = len(history) + 1
        right = self._text[begin : begin + max_nodes]
        return self._make(right, self._random) if right else DraftTree.empty()


@dataclass
class Calls:
    """What llama.cpp was asked for: rows of each evaluation, removals and copies of states."""

    rows: list = field(default_factory=list)
    removals: list = field(default_factory=list)
    copies: int = 0


@contextlib.contextmanager
def calls():
    """Record the calls of llama.cpp inside of the `with` block."""
    seen = Calls()

    def decode(ctx, batch):
        seen.rows.append(batch.n_tokens)
        return real["llama_decode"](ctx, batch)

    def remove(memory, sequence, begin, end):
        done = real["llama_memory_seq_rm"](memory, sequence, begin, end)
        seen.removals.append((begin, done))
        return done

    def copy(*arguments):
        seen.copies += 1
        return real["llama_state_seq_get_data_ext"](*arguments)

    mine = {
        "llama_decode": decode,
        "llama_memory_seq_rm": remove,
        "llama_state_seq_get_data_ext": copy,
    }
    real = {name: getattr(llama_cpp, name) for name in mine}
    with pytest.MonkeyPatch.context() as patch:
        for module, name in itertools.product((llama_cpp, llama_cpp.llama_cpp), mine):
            patch.setattr(module, name, mine[name])
        yield seen


def take(llama, prompt, n, **sampling):
    stream = llama.generate(prompt, **{"temp": 0.0, **sampling})
    taken = list(itertools.islice(stream, n))
    stream.close()
    return taken


def logits(llama):
    """Logits after the history."""
    row = llama._target.row if isinstance(llama, Llama) and llama._target is not None else -1
    pointer = llama_cpp.llama_get_logits_ith(llama.ctx, row)
    return np.ctypeslib.as_array(pointer, (llama.n_vocab(),)).copy()


class Trial:
    """llama_cpp's Llama and ours on one model, with forced drafts.

    Args:
        path: the model's file.
        **changes: other settings of both.
    """

    def __init__(self, path, **changes):
        self.settings = {"model_path": str(path), **SETTINGS, **PRECISE, **changes}
        self._stack = contextlib.ExitStack()
        self.plain = self._stack.enter_context(contextlib.closing(llama_cpp.Llama(**self.settings)))
        self.ours = self.load()
        self._answers = {}

    def load(self, **changes):
        """Another Llama of ours. What an evaluation costs is not measured: every draft is used."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("aded_edge.runtime.costs.measure_first", lambda *_: CostCurve({1: 1.0}))
            llama = Llama(**{"store": None, **self.settings, **changes})
        if llama._loop is not None:
            llama._loop.budget = FixedBudget(NODES)
        return self._stack.enter_context(llama)

    @property
    def drafts(self):
        """Whether this architecture is drafted for."""
        return self.ours._loop is not None

    def answer(self, prompt=PROMPT, n=LONG, **sampling):
        """The plain answer."""
        key = (tuple(prompt), *sampling.items())
        if len(self._answers.get(key, ())) < n:
            self.plain.reset()
            self.plain.set_seed(sampling.get("seed", 0))
            chosen = {name: value for name, value in sampling.items() if name != "seed"}
            self._answers[key] = take(self.plain, prompt, n, **chosen)
        return self._answers[key][:n]

    def force(self, make, prompt=PROMPT, answer=None, llama=None, seed=0):
        """Let drafts be made from an answer; the plain one if none is given."""
        llama = llama or self.ours
        text = [*prompt, *(self.answer(prompt) if answer is None else answer)]
        if llama._loop is not None:
            llama._loop.drafter = ForcedDrafter(text, make, seed)
        return llama

    def close(self):
        self._stack.close()
