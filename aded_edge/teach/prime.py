"""`prime`: the model answers varied openings, many at once, and its matrix learns how it talks.

Knows openings and the clock. Does not know how answers are decoded (`answers.py`), nor how the
matrix is kept.
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
"""How often what was learned is kept: what a killed process loses at most."""

ALONE = 8
"""Evaluations in which the first answer is alone, to know what many at once bring."""

_LEAST_ANSWER = 16
"""Tokens that the room of a sequence must leave behind the longest opening."""


def load_openings(path: Path | None) -> list[str]:
    """One opening a line; without a path, those of the package.

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
        raise ConfigError(f"{path} holds no openings; write one a line")
    return openings


def in_template(prompter: Prompter, openings: list[str], room: int) -> list[Int32Array]:
    """The openings as prompts of the model.

    Raises:
        PromptError: one leaves no room for an answer.
    """
    prompts = []
    for opening in openings:
        tokens = prompter.tokens([{"role": "user", "content": opening}])
        if len(tokens) + _LEAST_ANSWER > room:
            raise PromptError(
                f"the opening {opening[:40]!r} needs {len(tokens)} tokens and a sequence holds "
                f"{room}; give a larger --ctx, which all sequences share, or fewer --sequences"
            )
        prompts.append(np.asarray(tokens, np.int32))
    return prompts


@dataclass(frozen=True)
class Talk:
    """What came of letting a model talk.

    Attributes:
        tokens: how many it said.
        answers: how many of its answers are whole.
        seconds: how long that took.
        alone: seconds of an evaluation with one answer alone.
    """

    tokens: int
    answers: int
    seconds: float
    alone: float


def talk(
    answers: ParallelAnswers,
    sequences: int,
    lessons: Lessons,
    seconds: float,
    *,
    progress: Callable[[float, int], object],
    interrupted: Callable[[], bool],
) -> Talk:
    """Lets the model talk for some seconds; what it says is kept twice a minute.

    Args:
        answers: decodes them.
        sequences: how many answers there are at once, once it is known what one costs alone.
        lessons: what is learned is kept there.
        seconds: how long.
        progress: called after each evaluation with the seconds gone and the tokens said.
        interrupted: asked before each evaluation.

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
    return Talk(answers.tokens, answers.answers, now - began, median(alone))
