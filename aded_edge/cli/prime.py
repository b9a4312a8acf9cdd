"""`prime`: let a model answer varied openings, so that its matrix learns the answers.

Knows a progress bar and a summary. Does not know how answers are decoded or learned.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

from aded_edge.llamacpp.parallel import ParallelTarget
from aded_edge.llamacpp.prompt import Prompter
from aded_edge.models.resolve import resolve
from aded_edge.runtime.options import llama_arguments
from aded_edge.teach.answers import ParallelAnswers
from aded_edge.teach.lessons import Lessons, lessons_of, load_for_teaching
from aded_edge.teach.prime import PrimingFigures, load_openings, opening_prompts, run_priming

from .options import MODEL, RPC, STORE, Command, FilePath, FiniteRange, how_it_runs
from .output import say
from .signals import until_interrupted
from .teaching import holdings


@click.command(cls=Command)
@MODEL
@click.option("--minutes", type=FiniteRange(0, 1e6, min_open=True), required=True, help="Duration.")
@click.option(
    "--sequences",
    type=click.IntRange(1, 64),
    default=8,
    show_default=True,
    help="Answers in parallel.",
)
@click.option(
    "--openings", type=FilePath, help="A file with one opening per line. Default: from the package."
)
@click.option("--temperature", type=FiniteRange(0), default=0.8, show_default=True)
@click.option("--max-tokens", type=click.IntRange(1), default=256, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@STORE
@how_it_runs
@RPC
def prime(
    model: str,
    store: Path,
    *,
    minutes: float,
    sequences: int,
    openings: Path | None,
    temperature: float,
    max_tokens: int,
    seed: int,
    **running: Any,
) -> None:
    """Let a model answer many openings, so that its matrix learns the answers.

    The sequences share the context: each holds --ctx / --sequences tokens, but at least 256.
    """
    topics = load_openings(openings)
    with (
        closing(load_for_teaching(resolve(model), **llama_arguments(**running))) as llama,
        closing(lessons_of(llama, store)) as lessons,
        until_interrupted() as interrupted,
    ):
        target = ParallelTarget(llama, sequences)
        answers = ParallelAnswers(
            target,
            opening_prompts(Prompter(llama), topics, target.room),
            most_tokens=max_tokens,
            temperature=temperature,
            seed=seed,
        )
        with tqdm(total=round(60 * minutes), unit="s") as bar:

            def progress(seconds: float, tokens: int) -> None:
                if int(seconds) > bar.n:
                    bar.set_postfix_str(f"{tokens / seconds:.0f} tokens/s", refresh=False)
                    bar.update(int(seconds) - bar.n)

            figures = run_priming(
                answers,
                sequences,
                lessons,
                60 * minutes,
                progress=progress,
                interrupted=interrupted,
            )
    _report(figures, answers.sequences, lessons, store)
    if interrupted():
        raise KeyboardInterrupt


def _report(figures: PrimingFigures, sequences: int, lessons: Lessons, store: Path) -> None:
    speed = figures.tokens / figures.seconds
    line = (
        f"{figures.tokens:,} tokens in {figures.seconds:.0f} s, {figures.answers:,} whole answers"
    )
    line += f": {speed:.1f} tokens/s"
    if sequences > 1:
        line += f", {speed * figures.alone:.1f} times one sequence ({1 / figures.alone:.1f})"
    say(line)
    for line in holdings(lessons, store, figures.tokens):
        say(line)
