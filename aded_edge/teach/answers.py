"""Answers that decode in step: one token for each in every evaluation.

That costs far less than an evaluation for each token. What a drafter learns of it is what a chat
would have taught: the tokens chosen, and the target's likeliest candidates at every one.

Knows answers and a target that holds several texts. Does not know llama.cpp, files, or time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from aded_edge.arrays import Float32Array, Int32Array
from aded_edge.decode.candidates import CANDIDATES, top_candidates
from aded_edge.draft.drafter import AdaptiveDrafter, Step
from aded_edge.draft.tree import DraftTree
from aded_edge.llamacpp.parallel import ParallelTarget
from aded_edge.llamacpp.prompt import common_prefix

TOP_K = 40
"""Tokens that are sampled from, as in a chat."""


_NOTHING = np.empty(0, np.int32)


@dataclass
class RunningAnswer:
    """An answer under way.

    Attributes:
        prompt: int32 (n,), the opening in the model's chat template.
        known: tokens of it that are evaluated already.
        tokens: what the model has said so far.
        tops, probs: its likeliest candidates at each of these tokens, (CANDIDATES,) each.
    """

    prompt: Int32Array
    known: int = 0
    tokens: list[int] = field(default_factory=list)
    tops: list[Int32Array] = field(default_factory=list)
    probs: list[Float32Array] = field(default_factory=list)

    @property
    def waiting(self) -> Int32Array:
        """int32 (n,): what is not evaluated yet."""
        if self.tokens:
            return np.asarray(self.tokens[-1:], np.int32)
        return self.prompt[self.known :]

    def teach(self, drafter: AdaptiveDrafter) -> None:
        """Learns the answer as a text of its own; the prompt is context only."""
        if not self.tokens:
            return
        start = len(self.prompt)
        text = np.concatenate((self.prompt, np.asarray(self.tokens, np.int32)))
        drafter.read(text, start)
        behind = np.arange(start - 1, len(text) - 1)
        befores = np.where(behind > 0, text[behind - 1], -1).astype(np.int32)
        drafter.learn(
            Step(
                draft=DraftTree.empty(),
                parents=text[:0],
                emitted=text[:0],  # read above
                befores=befores,
                lasts=text[behind],
                top_tokens=np.stack(self.tops),
                top_probs=np.stack(self.probs),
            )
        )


def sample(
    tokens: Int32Array, probs: Float32Array, temperature: float, random: np.random.Generator
) -> Int32Array:
    """Chooses a token of each row.

    Args:
        tokens, probs: (rows, k), the candidates, likeliest first.
        temperature: 0 takes the likeliest.
        random: decides.

    Returns:
        int32 (rows,).
    """
    draws = random.random((len(tokens), 1))
    if temperature == 0:
        return tokens[:, 0]
    # From the likeliest on: no temperature, however low, makes 0 of all of them.
    shares = (probs / probs[:, :1]).astype(np.float64) ** (1.0 / temperature)
    sums = np.cumsum(shares, axis=1)
    chosen = np.sum(sums[:, :-1] <= draws * sums[:, -1:], axis=1)
    picked: Int32Array = tokens[np.arange(len(tokens)), chosen]
    return picked


class ParallelAnswers:
    """Answers that decode in step.

    Args:
        target: evaluates them.
        prompts: given out in turn, in a new order each time round.
        most_tokens: of one answer.
        temperature: of the sampling.
        seed: of the sampling, and of the order of the prompts.

    Attributes:
        sequences: how many answers there are at once.
        tokens: how many were made.
        answers: how many were finished.
    """

    def __init__(
        self,
        target: ParallelTarget,
        prompts: list[Int32Array],
        *,
        most_tokens: int,
        temperature: float,
        seed: int,
    ) -> None:
        self.sequences = 1
        self.tokens = 0
        self.answers = 0
        self._target = target
        self._most_tokens = most_tokens
        self._temperature = temperature
        self._random = np.random.default_rng(seed)
        self._prompts = self._in_turn(prompts)
        self._running: dict[int, RunningAnswer] = {}
        self._last: dict[int, Int32Array] = {}  # the prompt that each sequence holds

    def step(self, drafter: AdaptiveDrafter) -> None:
        """Adds a token to every answer; the drafter learns those that end with it."""
        for sequence in range(self.sequences):
            if sequence not in self._running:
                self._running[sequence] = self._begin(sequence)
        answers = list(self._running.items())
        waiting = [answer.waiting for _, answer in answers]
        logits = self._target.evaluate([sequence for sequence, _ in answers], waiting)
        tops, probs = top_candidates(logits, TOP_K)
        chosen = sample(tops, probs, self._temperature, self._random)
        for row, (sequence, answer) in enumerate(answers):
            answer.tokens.append(int(chosen[row]))
            answer.tops.append(tops[row, :CANDIDATES])
            answer.probs.append(probs[row, :CANDIDATES])
            if self._ended(answer):
                answer.teach(drafter)
                del self._running[sequence]
                self.answers += 1
        self.tokens += len(answers)

    def end(self, drafter: AdaptiveDrafter) -> None:
        """Learns the answers under way, as far as they have come."""
        for answer in self._running.values():
            answer.teach(drafter)
        self._running = {}

    def _begin(self, sequence: int) -> RunningAnswer:
        # What all prompts begin with, a system message perhaps, is evaluated once.
        prompt, last = next(self._prompts), self._last.get(sequence, _NOTHING)
        known = common_prefix(last, prompt[:-1])
        self._target.cut(sequence, known)
        self._last[sequence] = prompt
        return RunningAnswer(prompt, known)

    def _ended(self, answer: RunningAnswer) -> bool:
        said = len(answer.tokens)
        full = said >= self._most_tokens or len(answer.prompt) + said >= self._target.room
        return full or self._target.ends(answer.tokens[-1])

    def _in_turn(self, prompts: list[Int32Array]) -> Iterator[Int32Array]:
        while True:
            for i in self._random.permutation(len(prompts)):
                yield prompts[i]
