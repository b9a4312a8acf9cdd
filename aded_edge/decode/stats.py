"""Stats: counts and seconds of a generation.

Knows numbers only. The seconds leave out the time that the consumer of the tokens takes.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, fields, replace


@dataclass(frozen=True)
class Stats:
    """Figures of the last generation; `cumulative` holds those of all generations together.

    Attributes:
        prompt_tokens: tokens of the prompt, including those whose KV cache was reused.
        tokens: tokens generated; the first of them comes from the evaluation of the prompt.
        steps: evaluations after the prompt.
        drafted: draft nodes evaluated.
        accepted: draft tokens that the target confirmed.
        seconds_prompt: time to evaluate the tokens of the prompt whose KV cache was not reused.
        seconds: time of the steps, without the consumer's own time.
        seconds_drafting, seconds_evaluating, seconds_accepting, seconds_learning: parts of
            `seconds`.
        seconds_plain: time that the tokens of the steps would have taken without drafts, by the
            measured cost curve; 0 without a curve.
        plain_because: why drafting is not possible here, None if it is.
        cumulative: the figures of all generations, None in the cumulative ones themselves.
    """

    prompt_tokens: int = 0
    tokens: int = 0
    steps: int = 0
    drafted: int = 0
    accepted: int = 0
    seconds_prompt: float = 0.0
    seconds: float = 0.0
    seconds_drafting: float = 0.0
    seconds_evaluating: float = 0.0
    seconds_accepting: float = 0.0
    seconds_learning: float = 0.0
    seconds_plain: float = 0.0
    plain_because: str | None = None
    cumulative: Stats | None = field(default=None, repr=False)

    @property
    def mat(self) -> float:
        """Mean accepted tokens per step, including the bonus token; 1.0 in plain decoding."""
        return 1.0 + self.accepted / self.steps if self.steps else 1.0

    @property
    def tokens_per_second(self) -> float:
        """Tokens of the steps per second."""
        return (self.steps + self.accepted) / self.seconds if self.seconds > 0 else 0.0

    @property
    def predicted_speedup(self) -> float | None:
        """Speed relative to plain decoding by the measured cost curve, None without a curve."""
        if self.seconds <= 0 or self.seconds_plain <= 0:
            return None
        return self.seconds_plain / self.seconds

    def plus(self, other: Stats) -> Stats:
        """Return the sums of all counts and seconds."""
        sums = {
            f.name: getattr(self, f.name) + getattr(other, f.name)
            for f in fields(self)
            if isinstance(getattr(self, f.name), int | float)
        }
        return Stats(**sums)

    def after(self, earlier: Stats) -> Stats:
        """Return these figures, added to the cumulative ones of `earlier`."""
        total = self.plus(earlier.cumulative or Stats())
        return replace(self, cumulative=replace(total, plain_because=self.plain_because))


class Meter:
    """Collects the figures of one generation while it runs."""

    def __init__(self) -> None:
        self.tokens = self.steps = self.drafted = self.accepted = 0
        self.seconds = dict.fromkeys(("drafting", "evaluating", "accepting", "learning"), 0.0)
        self.seconds_plain = 0.0
        self._since = 0.0

    def resume(self) -> None:
        """Start the clock again; call it when the consumer returns control."""
        self._since = time.perf_counter()

    def lap(self, phase: str) -> float:
        """Add the time since the last lap to `phase`, and return it in seconds."""
        now = time.perf_counter()
        lap, self._since = now - self._since, now
        self.seconds[phase] += lap
        return lap

    def step(self, drafted: int, accepted: int, emitted: int, plain_seconds: float) -> None:
        """Count a step that has ended; `plain_seconds` is the time of one plain step."""
        self.steps += 1
        self.drafted += drafted
        self.accepted += accepted
        self.seconds_plain += emitted * plain_seconds

    def stats(
        self, prompt_tokens: int = 0, seconds_prompt: float = 0.0, plain_because: str | None = None
    ) -> Stats:
        """Return the figures so far."""
        seconds = self.seconds
        return Stats(
            prompt_tokens=prompt_tokens,
            tokens=self.tokens,
            steps=self.steps,
            drafted=self.drafted,
            accepted=self.accepted,
            seconds_prompt=seconds_prompt,
            seconds=sum(seconds.values()),
            seconds_drafting=seconds["drafting"],
            seconds_evaluating=seconds["evaluating"],
            seconds_accepting=seconds["accepting"],
            seconds_learning=seconds["learning"],
            seconds_plain=self.seconds_plain,
            plain_because=plain_because,
        )
