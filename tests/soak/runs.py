"""Long runs: answer after answer, with everything that is learned kept in a store.

Knows the loop, the model and the store. Does not know what is measured in the meantime.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from aded_edge import Llama
from aded_edge.arrays import Float32Array, Int32Array
from aded_edge.decode import stats
from aded_edge.decode.loop import Loop
from aded_edge.decode.stats import Meter
from aded_edge.draft.drafter import AdaptiveDrafter
from aded_edge.draft.matrix import TrigramMatrix
from aded_edge.draft.spans import Spans
from aded_edge.runtime import persistence
from tests.scripted import ScriptedTarget
from tests.soak.budget import ModelledBudget
from tests.soak.track import Track

# Other processes that take the processor must not count as bookkeeping.
stats.time = SimpleNamespace(perf_counter=time.thread_time)  # type: ignore[attr-defined]

Progress = Callable[[int], object]

VOCABULARY = 1024
ERA = 20
"""After so many answers the scripted target speaks differently, so that old contexts are dropped.

Within an era most steps repeat what was said in it."""

SETTINGS: dict[str, Any] = {
    "n_ctx": 1024,
    "n_threads": 1,
    "n_threads_batch": 1,
    "flash_attn": True,
    "verbose": False,
}
"""Of every model. One thread, because those of llama.cpp spin where another process works."""

OPENINGS = 8
"""Prompts of an era."""

MOST_PARTS = 8
"""Parts of a model before they are folded, so that a short run folds often, too."""

REOPENED = 64
"""After so many answers the store is closed and read again, as by a new process."""


class World:
    """Logits that depend on the last two tokens and the era, computed without any memory."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        table = rng.standard_normal(1 << 16).astype(np.float32)
        table[rng.random(table.size) < 4 / VOCABULARY] += 9.0
        self._table = table
        self.era = 0

    def __call__(self, context: Int32Array) -> Float32Array:
        """Logits float32 (VOCABULARY,) behind a context."""
        place = 7919 * self.era
        for token in context.tolist():
            place = (place * 1_000_003 + token + 1) & 0xFFFF_FFFF
        start = (place ^ place >> 13) % (self._table.size - VOCABULARY)
        return self._table[start : start + VOCABULARY]


def scripted(steps: int, seed: int, store: Path, progress: Progress) -> dict[str, Any]:
    """Decode a scripted target.

    The bounds of the drafter's memory are reached in the first quarter, whatever the number of
    steps.

    Returns:
        The figures, see `Track.figures`.
    """
    persistence.MOST_PARTS = MOST_PARTS
    world, rng = World(seed), np.random.default_rng(seed)
    target = ScriptedTarget(world, VOCABULARY)
    each = min(max(steps // 400, 10), 200)
    track, budget, kept, loop = Track(steps, store), ModelledBudget(), None, None

    def choose(_row: int, logits: Float32Array) -> int:
        if rng.random() < 0.9:
            return int(logits.argmax())
        return int((logits + rng.gumbel(size=VOCABULARY)).argmax())

    for number in itertools.count():
        if track.done:
            break
        world.era = number // ERA
        if number % REOPENED == 0:
            if kept is not None:
                kept.close()
            kept, drafter = persistence.Persistence(store), AdaptiveDrafter(**_bounds(steps))
            kept.load("scripted", "a scripted target", drafter)
            loop = Loop(target, drafter, budget)
        assert loop is not None
        assert kept is not None
        prompt = np.arange(8, dtype=np.int32) + np.int32(rng.integers(OPENINGS) + 8 * world.era)
        target.read((prompt % VOCABULARY).tolist())
        target.widths.clear()
        budget.forget()
        meter = _answer(loop, choose, target.history.copy(), each)
        kept.save(drafter)
        kept.wait()
        track.add(meter.steps, meter.seconds["drafting"] + meter.seconds["learning"])
        progress(meter.steps)
    assert kept is not None
    kept.close()
    return track.figures()


def _answer(loop: Loop, choose: Any, prompt: Int32Array, steps: int) -> Meter:
    drafter = loop.drafter
    assert isinstance(drafter, AdaptiveDrafter)
    meter = Meter()
    stream = loop.run(choose, meter=meter, read=lambda: drafter.read(prompt))
    for _ in stream:
        if meter.steps >= steps:
            break
    stream.close()
    return meter


def _bounds(steps: int) -> dict[str, Any]:
    return {
        "matrix": TrigramMatrix(max_contexts=steps // 16),
        "spans": Spans(max(steps // 8, 64)),
    }


def real(model: Path, steps: int, seed: int, store: Path, progress: Progress) -> dict[str, Any]:
    """Answer questions with a model; the bounds are as small as those of `scripted`.

    Returns:
        The figures, see `Track.figures`.
    """
    track = Track(steps, store)
    persistence.MOST_PARTS = MOST_PARTS
    each = min(max(steps // 100, 16), 160)
    with Llama(str(model), store=store, seed=seed, **SETTINGS) as llama:
        assert llama._loop is not None
        vars(llama._loop.drafter).update(_bounds(steps))
        for number in itertools.count():
            if track.done:
                break
            llama.create_completion(
                question(number), max_tokens=each, temperature=0.8, seed=seed + number
            )
            llama.wait_for_store()
            run = llama.stats
            track.add(run.steps, run.seconds_drafting + run.seconds_learning)
            progress(run.steps)
    return track.figures()


SUBJECTS = ("the tides", "a lighthouse", "bread", "prime numbers", "an old bicycle", "the winter")
FORMS = (
    "Here is a short story about {}:\n\n",
    "Question: What should everybody know about {}?\nAnswer:",
    "A list of ten facts about {}:\n1.",
    "Dear friend, let me tell you about {}.",
)


def question(number: int) -> str:
    """One of 24 prompts, in turn."""
    return FORMS[number % len(FORMS)].format(SUBJECTS[number // len(FORMS) % len(SUBJECTS)])
