"""`stats`: how fast answers were, day by day, and what the matrix holds: that it learns.

Knows figures, bars and a picture. Does not know how they were counted.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from .bench import picture
from .decode.stats import Stats
from .errors import BenchError
from .history_report import opened
from .store import Day, MatrixSize

_BAR = 24
"""Columns of the longest bar."""


def stats(store: str, days: int, json_: bool, png: Path | None) -> None:
    """Prints tables and bars, and draws a picture if one is wanted.

    Raises:
        StoreError: the store cannot be read.
        BenchError: the picture cannot be drawn.
    """
    if png is not None:
        picture.check(png)
    with opened(store) as file:
        by_day = file.conversations.by_day(days)
        by_conversation = file.conversations.by_conversation(days)
        sizes = file.sizes()
    if json_:
        click.echo(json.dumps(_as_dict(by_day, by_conversation, sizes), ensure_ascii=False))
    else:
        console = Console(highlight=False, markup=False)
        _print(console, "day", by_day)
        _print(console, "conversation", by_conversation)
        for size in sizes:
            console.print(_about_matrix(size))
    if png is not None:
        draw(by_conversation, png)
        click.echo(f"Drawn to {png}.", err=True)


def lines_about(stats: Stats) -> list[str]:
    """The last answer and the session so far, in lines."""
    lines = []
    for label, figures in (("last answer", stats), ("this session", stats.cumulative or stats)):
        speedup = figures.predicted_speedup
        faster = f", {speedup:.2f}x plain decoding" if speedup is not None else ""
        lines.append(
            f"{label}: {figures.tokens} tokens, {figures.tokens_per_second:.1f} tokens/s, "
            f"MAT {figures.mat:.2f}{faster}; drafted {figures.drafted}, "
            f"accepted {figures.accepted}"
        )
    return lines


def draw(conversations: Sequence[Day], png: Path) -> None:
    """Draws speedup and tokens per second by conversation.

    Raises:
        BenchError: there is nothing to draw, or the picture cannot be written.
    """
    if not conversations:
        raise BenchError("there is nothing to draw yet: the store holds no answers")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    places = range(1, len(conversations) + 1)
    axes.plot(places, [day.speedup or 1.0 for day in conversations], "o-", color="#0072B2")
    axes.axhline(1.0, color="#7F7F7F", linewidth=1)
    axes.set(
        xlabel="conversation, oldest first", ylabel="speed over plain decoding", ylim=(0, None)
    )
    axes.set_title("What was learned makes answers faster")
    try:
        figure.savefig(png, dpi=150)
    except (OSError, ValueError) as error:
        raise BenchError(f"cannot draw {png}: {error}") from error


def _print(console: Console, what: str, days: Sequence[Day]) -> None:
    table = Table(box=None, pad_edge=False)
    for name in (what, "answers", "tokens", "tokens/s", "MAT", "speedup"):
        table.add_column(name, justify="left" if name == what else "right")
    table.add_column("")
    longest = max((day.speedup or 0.0 for day in days), default=0.0)
    for day in days:
        speedup = day.speedup
        bar = "█" * round(_BAR * speedup / longest) if speedup else ""
        table.add_row(
            day.label,
            str(day.answers),
            str(day.tokens),
            f"{day.tokens_per_second:.1f}",
            f"{day.mat:.2f}",
            f"{speedup:.2f}" if speedup is not None else "",
            bar + (f" {day.title[:40]}" if day.title else ""),
        )
    console.print(table)
    console.print()


def _about_matrix(size: MatrixSize) -> str:
    if not size.parts:
        return f"The matrix of {size.name} is empty, since {size.since[:10]}."
    return (
        f"The matrix of {size.name}: {size.contexts:,} contexts and {size.tokens:,} tokens in "
        f"{size.parts} parts, {size.nbytes / 1e6:.1f} MB; since {size.since[:10]}, last written "
        f"{size.updated[:16].replace('T', ' ')} UTC."
    )


def _as_dict(
    by_day: Sequence[Day], by_conversation: Sequence[Day], sizes: Sequence[MatrixSize]
) -> dict[str, Any]:
    def rows(days: Sequence[Day]) -> list[dict[str, Any]]:
        return [
            asdict(day)
            | {
                "tokens_per_second": day.tokens_per_second,
                "mat": day.mat,
                "speedup": day.speedup,
            }
            for day in days
        ]

    return {
        "days": rows(by_day),
        "conversations": rows(by_conversation),
        "matrices": [asdict(size) for size in sizes],
    }
