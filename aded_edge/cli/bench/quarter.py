"""`bench month`: simulate a month with the assistant; print a table, write JSON and a picture.

Knows tables and pictures. Does not know how figures are computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import click
from rich.console import Console
from tqdm import tqdm

from aded_edge.bench.month.run import (
    COLD,
    KEPT,
    PLAIN,
    MonthSettings,
    run,
    sessions,
    speedups,
)
from aded_edge.bench.results import save_result
from aded_edge.files import check_picture, save_picture
from aded_edge.models.resolve import resolve

from ..options import CTX, MODEL, THREADS, Command, FilePath, FiniteRange
from ..output import console, plain_table

WEEK = 7
"""Days over which speeds are smoothed and summed up."""


@click.command(cls=Command)
@MODEL
@click.option("--prompts", type=FilePath, help="Sessions of your own. Default: from the package.")
@click.option("--limit", type=click.IntRange(1), help="Number of sessions.")
@click.option("--max-tokens", type=click.IntRange(2), default=128, show_default=True)
@click.option("--temperature", type=FiniteRange(0), default=0.0, show_default=True)
@THREADS
@click.option("--ctx", type=CTX, default=4096, show_default=True)
@click.option("--json", "out", type=FilePath, help="Write the result here.")
@click.option("--png", type=FilePath, help="Draw it here; needs matplotlib.")
def month(
    model: str,
    prompts: Path | None,
    limit: int | None,
    out: Path | None,
    png: Path | None,
    **options: Any,
) -> None:
    """Simulate a month with the assistant: 30 sessions over recurring topics."""
    if png is not None:
        check_picture(png)
    days = sessions(prompts)[:limit]
    file = resolve(model)  # last, because it may download
    planned = 3 * sum(len(day.turns) for day in days)
    with tqdm(total=planned, unit="answer") as bar:
        result = run(file, days, _settings(**options), lambda answers: bar.update(answers) and None)
    to = console()
    show(result, to)
    if out is not None:
        save_result(result, out)
        to.print(f"Written to {out}.")
    if png is not None:
        draw(result, png)
        to.print(f"Drawn to {png}.")


def _settings(*, ctx: int, **options: Any) -> MonthSettings:
    return MonthSettings(n_ctx=ctx, **options)


def show(result: dict[str, Any], to: Console) -> None:
    """Print the conditions and a table by day."""
    to.print(_conditions(result))
    kept, cold = speedups(result, KEPT), speedups(result, COLD)
    rows = {(row["day"], row["kind"]): row for row in result["rows"]}
    days = sorted({day for day, _ in rows})
    figures = ("plain tokens/s", "kept", "empty", "MAT", "same")
    table = plain_table("day", "topic", *figures, right=("day", *figures))
    for place, day in enumerate(days):
        one, plain = rows[day, KEPT], rows[day, PLAIN]
        table.add_row(
            str(day),
            one["topic"],
            f"{plain['tokens'] / plain['seconds']:.1f}" if plain["seconds"] else "",
            f"{kept[place]:.2f}x",
            f"{cold[place]:.2f}x",
            f"{one['mat']:.2f}",
            f"{one['identical']} of {one['answers']}",
        )
    to.print(table)
    first, last, empty = (median(x) for x in (kept[:WEEK], kept[-WEEK:], cold[-WEEK:]))
    to.print(
        f"Median of the first week {first:.2f}x, of the last {last:.2f}x plain decoding; with an "
        f"empty matrix every day {empty:.2f}x."
    )


def draw(result: dict[str, Any], png: Path) -> None:
    """Draw the speed over plain decoding by day.

    Raises:
        BenchError: the picture cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.8), layout="constrained")
    axes = figure.subplots()
    days = sorted({row["day"] for row in result["rows"]})
    for kind, label, colour in (
        (KEPT, "matrix kept from day to day", "#0072B2"),
        (COLD, "matrix empty every day", "#E69F00"),
    ):
        values = speedups(result, kind)
        axes.plot(days, values, "o", color=colour, alpha=0.5, markersize=4)
        axes.plot(days, _smooth(values), "-", color=colour, label=f"{label} (median of 7 days)")
    axes.axhline(1.0, color="black", linewidth=1, linestyle="--", label="plain decoding")
    axes.set(xlabel="day", ylabel="speed over plain decoding", ylim=(0, None))
    axes.set_title(_conditions(result), fontsize=8, loc="left", wrap=True)
    axes.legend(frameon=False)
    save_picture(figure, png, dpi=110)


def _smooth(values: Sequence[float]) -> list[float]:
    half = WEEK // 2
    return [median(values[max(0, i - half) : i + half + 1]) for i in range(len(values))]


def _conditions(result: dict[str, Any]) -> str:
    about, settings = result["conditions"], result["settings"]
    days = len({row["day"] for row in result["rows"]})
    return (
        f"{about['model']}, {days} sessions, up to {settings['max_tokens']} tokens an answer, "
        f"temperature {settings['temperature']:g}, {settings['threads']} threads, n_ctx "
        f"{settings['n_ctx']}, llama-cpp-python {about['llama_cpp_python']}, {about['time']}"
    )
