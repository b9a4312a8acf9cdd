"""State machines: whatever is done in whatever order, history, KV cache and logits agree.

ADED_MACHINE_EXAMPLES=1000 runs them longer.
"""

import itertools
import os

import llama_cpp
import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from aded_edge import EvaluationError, Llama
from aded_edge.decode.budget import FixedBudget
from tests.conftest import NODES, ROUNDING

N_CTX = 48
"""Small, so that contexts fill up."""

MARGIN = 10 * ROUNDING
"""Batches of other shapes round differently; another history changes logits by whole units."""

tokens = st.lists(st.integers(70, 74), min_size=1, max_size=12)


class KVMachine(RuleBasedStateMachine):
    """A model beside a naive one: a list of the tokens that the history must hold."""

    llama = fresh = None  # set by the test

    @initialize()
    def begin(self):
        self.llama.reset()
        self.history = []
        self.streams = []
        self.saved = None
        self.logits = False

    def _expect(self, history, logits=True):
        """What the history must be, and whether the logits in memory are those after it."""
        self.history = list(history)
        self.logits = logits

    @rule(prompt=tokens, count=st.integers(1, 20))
    def generate(self, prompt, count):
        """A stream from the beginning, stopped early or by the full context."""
        stream = self.llama.generate([1, *prompt], temp=0.0)
        said = []
        try:
            said.extend(itertools.islice(stream, count))
        except EvaluationError:
            assert len(prompt) + 1 + len(said) - 1 == N_CTX
        stream.close()
        self._expect([1, *prompt, *said][: len(prompt) + len(said)])

    @precondition(lambda self: len(self.streams) < 3)
    @rule(prompt=tokens)
    def open_stream(self, prompt):
        stream = self.llama.generate([1, *prompt], temp=0.0)
        said = [next(stream)]
        self.streams.append((stream, [1, *prompt], said))
        self._expect([1, *prompt])

    @precondition(lambda self: self.streams)
    @rule(which=st.integers(0, 2), count=st.integers(1, 6))
    def read_stream(self, which, count):
        """Any open stream goes on with its own text, whatever came between."""
        stream, prompt, said = self.streams[which % len(self.streams)]
        if len(prompt) + len(said) + count > N_CTX:
            return
        said.extend(itertools.islice(stream, count))
        assert said == self._truth(prompt, len(said))
        self._expect([*prompt, *said[:-1]])

    @precondition(lambda self: self.streams)
    @rule(which=st.integers(0, 2))
    def close_stream(self, which):
        stream, _, _ = self.streams.pop(which % len(self.streams))
        stream.close()

    @precondition(lambda self: self.streams)
    @rule(forced=tokens)
    def send(self, forced):
        """Tokens that are sent into the newest stream come after what it said."""
        stream, prompt, said = self.streams.pop()
        if len(prompt) + len(said) + len(forced) + 1 > N_CTX:
            stream.close()
            return
        token = stream.send(forced)
        stream.close()
        assert [token] == self._truth([*prompt, *said, *forced], 1)
        self._expect([*prompt, *said, *forced])

    @precondition(lambda self: not self.streams)
    @rule(more=tokens)
    def evaluate(self, more):
        if len(self.history) + len(more) <= N_CTX:
            self.llama.eval(more)
            self._expect([*self.history, *more])

    @precondition(lambda self: not self.streams and self.logits)
    @rule()
    def sample(self):
        token = self.llama.sample(temp=0.0)
        logits = self._fresh_logits(self.history)
        assert logits[token] > logits.max() - MARGIN

    @precondition(lambda self: not self.streams)
    @rule()
    def reset(self):
        self.llama.reset()
        self._expect([], logits=False)

    @precondition(lambda self: not self.streams)
    @rule(length=st.integers(0, N_CTX))
    def rewind(self, length):
        self.llama.n_tokens = min(length, len(self.history))
        self._expect(self.history[:length], logits=False)

    @rule()
    def save(self):
        self.saved = (self.llama.save_state(), list(self.history))

    @precondition(lambda self: self.saved and not self.streams)
    @rule()
    def load(self):
        state, history = self.saved
        self.llama.load_state(state)
        self._expect(history, logits=False)

    @invariant()
    def the_kv_holds_the_history(self):
        llama = self.llama
        llama._settle()
        assert llama.input_ids[: llama.n_tokens].tolist() == self.history
        memory = llama_cpp.llama_get_memory(llama.ctx)
        last = llama_cpp.llama_memory_seq_pos_max(memory, 0)
        assert last >= len(self.history) - 1  # a caller that lowers n_tokens leaves cells behind

    def teardown(self):
        for stream, _, _ in self.streams:
            stream.close()
        if not self.history:
            return
        # What the cells hold shows in the logits of the next token.
        self.llama.n_tokens = len(self.history) - 1
        self.llama.eval(self.history[-1:])
        logits = np.ctypeslib.as_array(
            self.llama._ctx.get_logits_ith(-1), (self.llama.n_vocab(),)
        ).copy()
        assert np.abs(logits - self._fresh_logits(self.history)).max() < MARGIN

    def _fresh_logits(self, history):
        self.fresh.reset()
        self.fresh.eval(history)
        return np.ctypeslib.as_array(
            self.fresh._ctx.get_logits_ith(-1), (self.fresh.n_vocab(),)
        ).copy()

    def _truth(self, prompt, count):
        self.fresh.reset()
        return list(itertools.islice(self.fresh.generate(prompt, temp=0.0), count))


@pytest.mark.parametrize("drafting", ["auto", "paper", "off"])
def test_anything_in_any_order(tiny_settings, drafting):
    fresh = llama_cpp.Llama(**{**tiny_settings, "n_ctx": N_CTX})
    with Llama(**{**tiny_settings, "n_ctx": N_CTX}, drafting=drafting, store=None) as llama:
        if drafting == "auto":
            llama._loop.budget = FixedBudget(NODES)
        machine = type("Machine", (KVMachine,), {"llama": llama, "fresh": fresh})
        machine.TestCase.settings = settings(
            max_examples=int(os.environ.get("ADED_MACHINE_EXAMPLES", "25")),
            stateful_step_count=30,
            derandomize="ADED_MACHINE_EXAMPLES" not in os.environ,
            suppress_health_check=list(HealthCheck),
        )
        machine.TestCase().runTest()
    fresh.close()
