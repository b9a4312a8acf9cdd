"""`bench record`: a model's answers kept as a trace.

Knows options and a progress bar. Does not know how an answer is recorded.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

from aded_edge.bench.dialogs import Dialog, load_dialogs
from aded_edge.bench.replay.record import RecordSettings
from aded_edge.bench.replay.record import record as record_trace
from aded_edge.bench.results import check_folder
from aded_edge.bench.sessions import PACKAGED, load_sessions, packaged
from aded_edge.models.resolve import resolve

from ..options import MODEL, RPC, Command, FilePath, FiniteRange, how_it_runs
from ..output import console


@click.command(cls=Command)
@MODEL
@click.option(
    "--prompts",
    required=True,
    help="Spec-Bench JSONL; or quarter, or other: the sessions of bench quarter, in their order.",
)
@click.option("--out", type=FilePath, required=True, help="The trace to write, an .npz file.")
@click.option(
    "--limit",
    type=click.IntRange(1),
    help="Number of dialogs, from all categories in turn; or of sessions.",
)
@click.option("--max-tokens", type=click.IntRange(2), default=192, show_default=True)
@click.option("--temperature", type=FiniteRange(0), default=0.0, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@how_it_runs
@RPC
def record(
    model: str,
    prompts: str,
    out: Path,
    limit: int | None,
    *,
    max_tokens: int,
    temperature: float,
    seed: int,
    **running: Any,
) -> None:
    """Record a model's answers, so that drafting can be tried without it."""
    dialogs, name = _dialogs(prompts, limit)
    check_folder(out)
    settings = RecordSettings(name, max_tokens, temperature, seed)
    trace = record_trace(resolve(model), _with_bar(dialogs), settings, **running)
    trace.save(out)
    tokens = sum(len(turn.answer) for turn in trace.turns)
    console().print(f"{len(trace.turns)} answers, {tokens} tokens, written to {out}")


def _dialogs(prompts: str, limit: int | None) -> tuple[list[Dialog], str]:
    if prompts in PACKAGED:
        sessions = load_sessions(packaged(prompts))[:limit]
        return [session.dialog() for session in sessions], prompts
    path = Path(prompts)
    return load_dialogs(path, limit), path.name


def _with_bar(dialogs: list[Dialog]) -> Iterator[Dialog]:
    # A generator, so that the bar does not appear before the model is loaded.
    with tqdm(dialogs, unit="dialog") as bar:
        yield from bar
