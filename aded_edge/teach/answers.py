"""Parallel decoding of answers: every evaluation adds one token to each of them.

This costs far less than one evaluation per token. A drafter learns from it what it would learn in
a chat: the chosen tokens, and the target's likeliest candidates at each of them.

Knows answers and a target with several sequences. Does not know llama.cpp, files, or time.
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
"""Number of the likeliest tokens from which one is sampled, as in a chat."""

_NOTHING = np.empty(0, np.int32)


@dataclass
class RunningAnswer:
    """An answer that is being decoded.

    Attributes:
        prompt: int32 (n,), the opening in the model's chat template.
        known: number of the prompt's first tokens that are in the KV cache already.
        tokens: tokens of the answer so far.
        tops, probs: int32 and float32 (CANDIDATES,) for each of these tokens: the target's
            likeliest candidates there, and their probabilities.
    """

    prompt: Int32Array
    known: int = 0
    tokens: list[int] = field(default_factory=list)
    tops: list[Int32Array] = field(default_factory=list)
    probs: list[Float32Array] = field(default_factory=list)

    @property
    def waiting(self) -> Int32Array:
        """int32 (n,): tokens that must be evaluated next."""
        if self.tokens:
            return np.asarray(self.tokens[-1:], np.int32)
        return self.prompt[self.known :]

    def teach(self, drafter: AdaptiveDrafter) -> None:
        """Let a drafter learn the answer as one text; the prompt only serves as context."""
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
                emitted=text[:0],  # drafter.read() has learned the tokens already
                befores=befores,
                lasts=text[behind],
                top_tokens=np.stack(self.tops),
                top_probs=np.stack(self.probs),
            )
        )


def sample(
    tokens: Int32Array, probs: Float32Array, temperature: float, random: np.random.Generator
) -> Int32Array:
    """Sample one token per row.

    Args:
        tokens: int32 (rows, k), candidates, likeliest first.
        probs: float32 (rows, k), their probabilities at temperature 1.
        temperature: 0 takes the likeliest.
        random: source of randomness.

    Returns:
        int32 (rows,), the chosen tokens.
    """
    draws = random.random((len(tokens), 1))
    if temperature == 0:
        return tokens[:, 0]
    # Relative to the likeliest, whose share is 1: a low temperature cannot round all shares to 0.
    shares = (probs / probs[:, :1]).astype(np.float64) ** (1.0 / temperature)
    sums = np.cumsum(shares, axis=1)
    chosen = np.sum(sums[:, :-1] <= draws * sums[:, -1:], axis=1)
    picked: Int32Array = tokens[np.arange(len(tokens)), chosen]
    return picked


class ParallelAnswers:
    """Answers that are decoded in parallel; a finished one makes room for the next prompt.

    Args:
        target: evaluates the answers.
        prompts: int32 (n,) each. When all are used they start again, in a new random order.
        most_tokens: bound of one answer.
        temperature: of the sampling.
        seed: of the sampling, and of the order of the prompts.

    Attributes:
        sequences: number of answers at a time; may be changed between steps.
        tokens: number of tokens generated so far.
        answers: number of answers finished so far.
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
        self._last: dict[int, Int32Array] = {}  # the last prompt of each sequence

    def step(self, drafter: AdaptiveDrafter) -> None:
        """Add a token to every answer; the drafter learns the answers that end with it."""
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
        """Let the drafter learn the unfinished answers, and drop them."""
        for answer in self._running.values():
            answer.teach(drafter)
        self._running = {}

    def _begin(self, sequence: int) -> RunningAnswer:
        # A common prefix of prompts, such as a system message, stays in the KV cache.
        prompt, last = next(self._prompts), self._last.get(sequence, _NOTHING)
        known = common_prefix(last, prompt[:-1])
        known = self._target.cut(sequence, known)
        self._last[sequence] = prompt
        return RunningAnswer(prompt, known)

    def _ended(self, answer: RunningAnswer) -> bool:
        length = len(answer.tokens)
        full = length >= self._most_tokens or len(answer.prompt) + length >= self._target.room
        return full or self._target.ends(answer.tokens[-1])

    def _in_turn(self, prompts: list[Int32Array]) -> Iterator[Int32Array]:
        while True:
            for i in self._random.permutation(len(prompts)):
                yield prompts[i]
