"""`stats`: the speed of answers by day and by conversation, and the size of the matrix.

Knows tables, bars and a picture. Does not know how the figures were counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from aded_edge.errors import BenchError
from aded_edge.files import check_picture, save_picture
from aded_edge.shown import local, one_line
from aded_edge.store import AnswerTotals, MatrixSize

from .history import opened
from .options import JSON, STORE, Command, FilePath
from .output import console, plain_table, print_json, say

_BAR = 24
"""Columns of the longest bar."""


@click.command(cls=Command)
@click.option("--days", type=click.IntRange(1), default=30, show_default=True, help="Rows shown.")
@click.option("--png", type=FilePath, help="Draw it here; needs matplotlib.")
@STORE
@JSON
def stats(store: Path, days: int, json_: bool, png: Path | None) -> None:
    """Show speed by day and by conversation, and the size of the matrix."""
    if png is not None:
        check_picture(png)
    with opened(store) as file:
        by_day = file.conversations.by_day(days)
        by_conversation = file.conversations.by_conversation(days)
        sizes = file.sizes()
    if json_:
        print_json(_as_dict(by_day, by_conversation, sizes))
    else:
        out = console()
        _print(out, "day", by_day)
        _print(out, "conversation", by_conversation)
        for size in sizes:
            out.print(_about_matrix(size))
    if png is not None:
        draw(by_conversation, png)
        say(f"Drawn to {png}.", err=True)


def draw(conversations: Sequence[AnswerTotals], png: Path) -> None:
    """Draw the speed over plain decoding by conversation.

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
    axes.set_title("Speed over plain decoding, by conversation")
    save_picture(figure, png, dpi=150)


def _print(out: Console, what: str, days: Sequence[AnswerTotals]) -> None:
    figures = ("answers", "tokens", "tokens/s", "MAT", "speedup")
    table = plain_table(what, *figures, "", right=figures)
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
            bar + (f" {one_line(day.title[:40])}" if day.title else ""),
        )
    out.print(table)
    out.print()


def _about_matrix(size: MatrixSize) -> str:
    if not size.parts:
        return f"The matrix of {size.name} is empty, since {local(size.since, day=True)}."
    return (
        f"The matrix of {size.name}: {size.contexts:,} contexts and {size.tokens:,} tokens in "
        f"{size.parts} parts, {size.nbytes / 1e6:.1f} MB; since {local(size.since, day=True)}, "
        f"last written {local(size.updated)}."
    )


def _as_dict(
    by_day: Sequence[AnswerTotals],
    by_conversation: Sequence[AnswerTotals],
    sizes: Sequence[MatrixSize],
) -> dict[str, Any]:
    def rows(days: Sequence[AnswerTotals]) -> list[dict[str, Any]]:
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
