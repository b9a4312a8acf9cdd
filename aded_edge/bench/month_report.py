"""Runs the month from the command line, prints and draws what it found.

Knows tables and pictures. Does not know how figures are made.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from ..assistant import default_threads
from ..errors import BenchError, ModelError
from . import picture
from .month import COLD, KEPT, PLAIN, run, sessions, speedups
from .speed import save

WEEK = 7


def month(
    model: Path,
    prompts: Path | None,
    limit: int | None,
    out: Path | None,
    png: Path | None,
    *,
    threads: int | None,
    ctx: int,
    max_tokens: int,
    temperature: float,
) -> None:
    """Holds the sessions, prints a table, writes JSON and a picture.

    Raises:
        BenchError: the sessions or a file cannot be used.
        ModelError: the model cannot be loaded.
    """
    if not model.is_file():
        raise ModelError(f"Model path does not exist: {model}")
    if png is not None:
        picture.check(png)
    days = sessions(prompts)[:limit]
    planned = 3 * sum(len(day.turns) for day in days)
    with tqdm(total=planned, unit="answer") as bar:
        result = run(
            model,
            days,
            max_tokens=max_tokens,
            threads=threads or default_threads(),
            ctx=ctx,
            temperature=temperature,
            progress=lambda answers: bar.update(answers) and None,
        )
    console = Console(highlight=False, markup=False)
    show(result, console)
    if out is not None:
        save(result, out)
        console.print(f"Written to {out}.")
    if png is not None:
        draw(result, png)
        console.print(f"Drawn to {png}.")


def show(result: dict[str, Any], console: Console) -> None:
    """Prints conditions and a table by day."""
    console.print(_conditions(result))
    kept, cold = speedups(result, KEPT), speedups(result, COLD)
    rows = {(row["day"], row["kind"]): row for row in result["rows"]}
    days = sorted({day for day, _ in rows})
    table = Table(box=None, pad_edge=False)
    for name in ("day", "topic", "plain tokens/s", "kept", "empty", "MAT", "same"):
        table.add_column(name, justify="left" if name == "topic" else "right")
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
    console.print(table)
    first, last, empty = (median(x) for x in (kept[:WEEK], kept[-WEEK:], cold[-WEEK:]))
    console.print(
        f"Median of the first week {first:.2f}x, of the last {last:.2f}x plain decoding; with an "
        f"empty matrix every day {empty:.2f}x."
    )


def draw(result: dict[str, Any], png: Path) -> None:
    """Draws speed over plain decoding by day.

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
    try:
        figure.savefig(png, dpi=110, format="png")
    except OSError as error:
        raise BenchError(f"cannot draw {png}: {error}") from error


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
