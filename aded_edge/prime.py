"""`prime`: the model answers varied openings, many at once, and its matrix learns how it talks.

Knows openings, the clock and a summary. Does not know how answers are made or learned
(`choir.py`), nor how the matrix is kept.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from statistics import median

import click
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from .bench.prompts import Prompter
from .choir import Choir
from .draft.drafter import AdaptiveDrafter
from .errors import ConfigError, PromptError
from .learn import holdings, load, store_path, until_interrupted
from .memory import Lessons
from .target.fingerprint import model_fingerprint, model_name
from .target.parallel import ParallelTarget

SAVE_SECONDS = 30.0
"""How often what was learned is kept: what a killed process loses at most."""

ALONE = 8
"""Evaluations in which the first answer is alone, to know what many at once bring."""

_LEAST_ANSWER = 16
"""Tokens that the room of a sequence must leave behind the longest opening."""

Int32Array = npt.NDArray[np.int32]


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


def prime(
    model: Path,
    *,
    minutes: float,
    sequences: int,
    openings: Path | None,
    temperature: float,
    max_tokens: int,
    seed: int,
    store: str,
    ctx: int,
    threads: int | None,
    gpu_layers: int,
    flash_attn: bool,
) -> None:
    """Lets the model talk for some minutes, and says what its matrix holds now.

    Args:
        model: a GGUF file.
        minutes: how long.
        sequences: answers at once; they share the context.
        openings: a file with one a line, in the place of the package's own.
        temperature, seed: of the sampling.
        max_tokens: of one answer.
        store: "default", or the store's path.
        ctx, threads, gpu_layers, flash_attn: how the model runs.

    Raises:
        ConfigError: the openings cannot be read.
        PromptError: an opening leaves no room for an answer.
        ModelError: the model cannot be loaded, or never drafts.
        StoreError: the store cannot be read or written.
        KeyboardInterrupt: Ctrl-C; all that was said is kept.
    """
    lines = load_openings(openings)
    path = store_path(store)
    threads = threads or os.cpu_count() or 1
    with (
        closing(
            load(
                model,
                n_ctx=ctx,
                n_threads=threads,
                n_threads_batch=threads,
                n_gpu_layers=gpu_layers,
                flash_attn=flash_attn,
            )
        ) as llama,
        closing(Lessons(path, model_fingerprint(llama), model_name(llama))) as lessons,
        until_interrupted() as interrupted,
    ):
        target = ParallelTarget(llama, sequences)
        choir = Choir(
            target,
            in_template(Prompter(llama), lines, target.room),
            most_tokens=max_tokens,
            temperature=temperature,
            seed=seed,
        )
        seconds, alone = _run(choir, lessons, 60.0 * minutes, sequences, interrupted)
    _report(choir, seconds, alone, lessons, path)
    if interrupted():
        raise KeyboardInterrupt


def _run(
    choir: Choir,
    lessons: Lessons,
    seconds: float,
    sequences: int,
    interrupted: Callable[[], bool],
) -> tuple[float, float]:
    """Returns how long it took, and how long an evaluation takes an answer alone."""
    drafter = AdaptiveDrafter(keep_news=True)
    alone: list[float] = []
    began = saved = now = time.perf_counter()
    with tqdm(total=round(seconds), unit="s") as bar:
        while not alone or (now - began < seconds and not interrupted()):
            if len(alone) == ALONE:
                choir.sequences = sequences
            choir.step(drafter)
            before, now = now, time.perf_counter()
            if len(alone) < ALONE:
                alone.append(now - before)
            if now - saved >= SAVE_SECONDS:
                lessons.add(drafter.take_news().learned())
                saved = now
            if int(now - began) > bar.n:
                bar.set_postfix_str(f"{choir.tokens / (now - began):.0f} tokens/s", refresh=False)
                bar.update(int(now - began) - bar.n)
    choir.end(drafter)
    lessons.add(drafter.take_news().learned())
    return now - began, median(alone)


def _report(choir: Choir, seconds: float, alone: float, lessons: Lessons, path: Path) -> None:
    speed = choir.tokens / seconds
    line = f"{choir.tokens:,} tokens in {seconds:.0f} s, {choir.answers:,} whole answers"
    line += f": {speed:.1f} tokens/s"
    if choir.sequences > 1:
        line += f", {speed * alone:.1f} times one sequence ({1 / alone:.1f})"
    click.echo(line)
    for line in holdings(lessons, path, choir.tokens):
        click.echo(line)
