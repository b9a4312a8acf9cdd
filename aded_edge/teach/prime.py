"""Prime a model's matrix: the model answers varied openings, and the matrix learns the answers.

Knows openings and the clock. Does not know how answers are decoded (`answers.py`), nor how the
matrix is stored.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from aded_edge.arrays import Int32Array
from aded_edge.draft.drafter import AdaptiveDrafter
from aded_edge.errors import ConfigError, PromptError
from aded_edge.llamacpp.prompt import Prompter

from .answers import ParallelAnswers
from .lessons import Lessons

SAVE_SECONDS = 30.0
"""Seconds between two writes to the store. They are the most that a killed process loses."""

ALONE = 8
"""Evaluations at the start with one answer alone, to measure how much several at a time save."""

_LEAST_ANSWER = 16
"""Tokens that a sequence must have left for the answer, after the longest opening."""


def load_openings(path: Path | None) -> list[str]:
    """Read openings, one per line, by default from the file in this package.

    Raises:
        ConfigError: the file cannot be read, or is empty.
    """
    path = path or Path(__file__).with_name("openings.txt")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read openings from {path}: {error}") from error
    openings = [line.strip() for line in lines if line.strip()]
    if not openings:
        raise ConfigError(f"{path} contains no openings; write one per line")
    return openings


def opening_prompts(prompter: Prompter, openings: list[str], room: int) -> list[Int32Array]:
    """Put openings into the model's chat template.

    Args:
        prompter: of the model.
        openings: what the user says first.
        room: tokens of one sequence.

    Returns:
        int32 (n,), the prompt's tokens, for each opening.

    Raises:
        PromptError: an opening leaves no room for an answer.
    """
    prompts = []
    for opening in openings:
        tokens = prompter.tokens([{"role": "user", "content": opening}])
        if len(tokens) + _LEAST_ANSWER > room:
            raise PromptError(
                f"the opening {opening[:40]!r} has {len(tokens)} tokens and a sequence holds "
                f"{room}; give a larger --ctx, which all sequences share, or fewer --sequences"
            )
        prompts.append(np.asarray(tokens, np.int32))
    return prompts


@dataclass(frozen=True)
class PrimingFigures:
    """Figures of one run.

    Attributes:
        tokens: number of tokens generated.
        answers: number of answers finished.
        seconds: duration.
        alone: seconds of one evaluation with a single answer.
    """

    tokens: int
    answers: int
    seconds: float
    alone: float


def run_priming(
    answers: ParallelAnswers,
    sequences: int,
    lessons: Lessons,
    seconds: float,
    *,
    progress: Callable[[float, int], object],
    interrupted: Callable[[], bool],
) -> PrimingFigures:
    """Let a model answer openings for some time, and write what is learned every SAVE_SECONDS.

    Args:
        answers: decodes the answers.
        sequences: number of answers at a time, after ALONE evaluations with a single one.
        lessons: the model's part of the store.
        seconds: how long to go on; at least one evaluation is done.
        progress: called after each evaluation with the seconds since the start and the number of
            tokens so far.
        interrupted: called before each evaluation; True ends the run, and what is learned is
            written.

    Raises:
        StoreError: the store cannot be written.
        EvaluationError: llama.cpp refused a batch.
    """
    drafter = AdaptiveDrafter(keep_news=True)
    alone: list[float] = []
    began = saved = now = time.perf_counter()
    while not alone or (now - began < seconds and not interrupted()):
        if len(alone) == ALONE:
            answers.sequences = sequences
        answers.step(drafter)
        before, now = now, time.perf_counter()
        if len(alone) < ALONE:
            alone.append(now - before)
        if now - saved >= SAVE_SECONDS:
            lessons.add(drafter.take_news().learned())
            saved = now
        progress(now - began, answers.tokens)
    answers.end(drafter)
    lessons.add(drafter.take_news().learned())
    return PrimingFigures(answers.tokens, answers.answers, now - began, median(alone))
