"""A state machine on the scripted target: in any order, history and text are those of a list.

ADED_MACHINE_EXAMPLES=1000 runs it longer. Llama's own machine is tests/runtime/test_kv_machine.py.
"""

import os

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from aded_edge.decode.budget import FixedBudget
from aded_edge.decode.loop import Loop
from aded_edge.draft.tree import DraftTree
from aded_edge.errors import EvaluationError
from tests.decode.drafts import DRAFTS, EMPTY, VOCABULARY, TreeDrafter, greedy, likeliest, ngram
from tests.scripted import ScriptedTarget

N_CTX = 32
"""Small, so that contexts fill up."""

texts = st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=6)
closed = precondition(lambda self: self.stream is None)
opened = precondition(lambda self: self.stream is not None)
started = precondition(lambda self: self.stream is not None and self.said)


class HalfBudget(FixedBudget):
    """Cuts every draft in half."""

    def cut(self, tree):
        return tree.prefix(len(tree) // 2)


class LoopMachine(RuleBasedStateMachine):
    """A loop beside a naive one.

    `history` was evaluated before the stream, `said` came from it since, and `extra` was evaluated
    by its consumer since the last token.
    """

    @initialize(seed=st.integers(0, 3), half=st.booleans(), text=texts)
    def start(self, seed, half, text):
        self.target = ScriptedTarget(ngram(seed)._logits_of, VOCABULARY, n_ctx=N_CTX)
        self.drafter = TreeDrafter(DRAFTS[0](self.target))
        self.loop = Loop(self.target, self.drafter, HalfBudget(16) if half else FixedBudget(16))
        self.stream = None
        self.another_prompt(text)

    # --- without a stream -------------------------------------------------------------------

    @closed
    @rule(text=texts)
    def another_prompt(self, text):
        self.target.read(text)
        self._ended(text)

    @closed
    @rule(length=st.integers(1, N_CTX))
    def rewind(self, length):
        """Cut the history back, and evaluate its last token again for the logits behind it."""
        self.history = self.history[:length]
        self.target.rewind(len(self.history) - 1)
        self._evaluate(self.history[-1])
        self.target.settle()

    @closed
    @rule(stops_at=st.integers(1, 2 * N_CTX))
    def begin(self, stops_at):
        """A stream after the history, which a criterion may end at some length of it."""

        def stop(history, logits):
            assert int(logits.argmax()) == likeliest(self.target, [])
            return len(history) == stops_at

        self.stops_at = stops_at
        self.stream = self.loop.run(greedy, stop)

    # --- with a stream ----------------------------------------------------------------------

    @opened
    @rule(count=st.integers(1, 12))
    def go_on(self, count):
        for _ in range(count):
            if self.stream is not None:
                self._next(lambda: next(self.stream))

    @started
    @rule(forced=texts)
    def send(self, forced):
        """Tokens that are sent come after what was said, and the stream goes on after them."""
        self.history, self.said = [*self.history, *self.said, *forced], []
        self._next(lambda: self.stream.send(forced))

    @opened
    @rule()
    def close(self):
        self.stream.close()
        self._ended([*self.history, *self.said[:-1], *self.extra])

    @started
    @rule(text=texts)
    def the_consumer_evaluates(self, text):
        """The stream takes this back when it goes on."""
        for token in text[: self.target.max_nodes + 1 if len(self._expected()) < N_CTX else 0]:
            self._evaluate(token)
            self.target.settle()
            self.extra.append(token)

    @rule()
    def settle(self):
        self.target.settle()

    @rule(which=st.integers(0, len(DRAFTS)))
    def draft_otherwise(self, which):
        """All right, all wrong, mixed, random, or nothing."""
        nothing = lambda path, most: DraftTree.empty()  # noqa: E731
        self.drafter.make = [*(make(self.target) for make in DRAFTS), nothing][which]

    # --- what must hold ---------------------------------------------------------------------

    @invariant()
    def history_and_logits_agree(self):
        assert self.target.history.tolist() == self._expected()
        if self.stream is None:
            assert self.target.ticket == 0
            assert int(self.target.logits().argmax()) == likeliest(self.target, [])

    def _expected(self):
        return [*self.history, *self.said[:-1], *self.extra]

    def _next(self, step):
        self.extra = []
        text = [*self.history, *self.said]
        try:
            token = step()
        except StopIteration:
            assert len(text) == self.stops_at
            self._ended(text)
        except EvaluationError:
            assert len(text) > N_CTX
            self._ended(text[:N_CTX])
        else:
            assert token == int(self.target._logits_of(np.asarray(text[-2:], np.int32)).argmax())
            self.said.append(token)

    def _evaluate(self, token):
        self.target.evaluate(token, EMPTY, EMPTY)
        self.target.advance(0)

    def _ended(self, history):
        self.stream, self.history, self.said, self.extra = None, list(history), [], []


TestLoop = LoopMachine.TestCase
TestLoop.settings = settings(
    max_examples=int(os.environ.get("ADED_MACHINE_EXAMPLES", "100")),
    stateful_step_count=40,
    deadline=None,
    derandomize="ADED_MACHINE_EXAMPLES" not in os.environ,
    suppress_health_check=list(HealthCheck),
)
