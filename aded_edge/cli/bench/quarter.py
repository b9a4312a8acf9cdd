"""`bench quarter`: a quarter of use with three stores; tables, JSON and a picture.

Knows options, tables and pictures. Does not know how figures are computed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.console import Console
from tqdm import tqdm

from aded_edge.bench.quarter.figures import (
    MONTH,
    TIMES,
    Sums,
    by_kind,
    by_repetition,
    by_week,
    last_month,
    times_as_fast,
)
from aded_edge.bench.quarter.run import EMPTY, KEPT, OTHER, QuarterSettings, planned, run
from aded_edge.bench.results import check_folder
from aded_edge.bench.sessions import load_sessions, packaged, week_of
from aded_edge.files import check_picture, save_picture
from aded_edge.models.resolve import resolve

from ..options import CTX, MODEL, THREADS, Command, FilePath, FiniteRange
from ..output import console, plain_table

_TITLES = {"answer": "time to answer", "first": "time to first token", "generation": "generation"}


@click.command(cls=Command)
@MODEL
@click.option("--prompts", type=FilePath, help="Sessions of your own. Default: the package's.")
@click.option("--other", type=FilePath, help="Sessions of the other user. Default: the package's.")
@click.option("--weeks", type=click.IntRange(1), help="Number of weeks.")
@click.option("--limit", type=click.IntRange(1), help="Number of sessions, of the other user too.")
@click.option("--max-tokens", type=click.IntRange(2), default=1280, show_default=True)
@click.option("--temperature", type=FiniteRange(0), default=0.0, show_default=True)
@THREADS
@click.option("--ctx", type=CTX, default=6144, show_default=True)
@click.option("--gpu-layers", type=int, default=0, show_default=True)
@click.option(
    "--json",
    "out",
    type=FilePath,
    help="Write the result here after each session, and go on from it. Stores are kept beside it.",
)
@click.option("--png", type=FilePath, help="Draw it here; needs matplotlib.")
def quarter(
    model: str,
    prompts: Path | None,
    other: Path | None,
    weeks: int | None,
    limit: int | None,
    out: Path | None,
    png: Path | None,
    *,
    ctx: int,
    **options: Any,
) -> None:
    """Hold a quarter of one person's use: with the kept store, an empty one, another user's.

    A run with --json that was interrupted goes on with the same command; with a higher --weeks or
    --limit it is extended, except for the other user's sessions.
    """
    if png is not None:
        check_picture(png)
    if out is not None:
        check_folder(out)
    sessions = load_sessions(prompts or packaged("quarter"))
    sessions = [s for s in sessions if weeks is None or week_of(s.day) <= weeks][:limit]
    others = load_sessions(other or packaged("other"))[:limit]
    file = resolve(model)  # last, because it may download
    with tqdm(total=planned(sessions, others), unit="answer", smoothing=0.02) as bar:

        def progress(label: str, answers: int) -> None:
            bar.set_postfix_str(label, refresh=False)
            bar.update(answers)

        settings = QuarterSettings(n_ctx=ctx, **options)
        result = run(file, sessions, others, settings, out, progress)
    to = console()
    show(result, to)
    if out is not None:
        to.print(f"Written to {out}.")
    if png is not None:
        draw(result, png)
        to.print(f"Drawn to {png}.")


def show(result: dict[str, Any], to: Console) -> None:
    """Print the conditions, and tables by week, kind and repetition."""
    to.print(_conditions(result))
    to.print(
        "Seconds of an answer and to its first token with an empty store; then how many times as "
        "fast the answer, the first token and the generation are with the kept store, and the "
        "answer with another user's."
    )
    _table("week", by_week(result), to)
    _table("kind", by_kind(result), to)
    _table("task", by_repetition(result), to)
    month = last_month(result)
    if month:
        answer, first, generation = (times_as_fast(month, KEPT, time) for time in TIMES)
        to.print(
            f"Last {MONTH} weeks: with the kept store answers come {answer:.2f} times as fast as "
            f"with an empty one (first token {first:.2f}, generation {generation:.2f}); with "
            f"another user's store {times_as_fast(month, OTHER):.2f} times."
        )
    same = sum(row["same"] for row in result["rows"])
    to.print(f"{same} of {len(result['rows'])} answers are those of the store that was first.")
    if result["unsure"]:
        to.print(f"Left out because they were interrupted: {', '.join(result['unsure'])}.")


def _table(name: str, groups: dict[Any, dict[str, Sums]], to: Console) -> None:
    figures = ("answers", "tokens", "answer s", "first s", "kept", "first", "gen.", "other")
    table = plain_table(name, *figures, right=(*figures, "week"))
    for group, stores in groups.items():
        empty = stores[EMPTY]
        ratios = [times_as_fast(stores, KEPT, time) for time in TIMES]
        ratios.append(times_as_fast(stores, OTHER))
        table.add_row(
            str(group),
            str(empty.answers),
            str(empty.tokens),
            f"{empty.answer / empty.answers:.2f}",
            f"{empty.first / empty.answers:.2f}",
            *(f"{ratio:.2f}x" for ratio in ratios),
        )
    to.print(table)
    to.print()


def draw(result: dict[str, Any], png: Path) -> None:
    """Draw by week how many times as fast each time is as with an empty store.

    Raises:
        BenchError: the picture cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4.4), layout="constrained")
    weeks = by_week(result)
    for axes, time in zip(figure.subplots(1, len(TIMES)), TIMES, strict=True):
        for store, label, colour in (
            (KEPT, "the user's own store, kept", "#0072B2"),
            (OTHER, "another user's store", "#E69F00"),
        ):
            values = [times_as_fast(stores, store, time) for stores in weeks.values()]
            axes.plot([*weeks], values, "o-", color=colour, markersize=4, label=label)
        axes.axhline(1.0, color="black", linewidth=1, linestyle="--", label="empty store")
        axes.set(xlabel="week", ylim=(0, None), title=_TITLES[time])
        axes.xaxis.get_major_locator().set_params(integer=True)
    figure.axes[0].set_ylabel("times as fast as with an empty store")
    handles = figure.axes[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=3, frameon=False)
    figure.suptitle(_conditions(result), fontsize=8, x=0.01, ha="left")
    save_picture(figure, png, dpi=110)


def _conditions(result: dict[str, Any]) -> str:
    about, settings = result["conditions"], result["settings"]
    held = {row["session"] for row in result["rows"]}
    return (
        f"{about['model']}, {len(held)} sessions, up to {settings['max_tokens']} tokens an answer, "
        f"temperature {settings['temperature']:g}, {settings['threads']} threads, n_ctx "
        f"{settings['n_ctx']}, llama-cpp-python {about['llama_cpp_python']}, {about['time']}"
    )
