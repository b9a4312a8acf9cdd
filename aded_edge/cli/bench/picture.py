"""`bench picture`: results of `bench speed` drawn once more.

Knows options. Does not know what a picture shows.
"""

from __future__ import annotations

from pathlib import Path

import click

from aded_edge.bench.picture import picture as draw_results

from ..options import Command, FilePath


@click.command(cls=Command)
@click.argument("results", type=FilePath, nargs=-1, required=True)
@click.option("--png", type=FilePath, required=True, help="The picture.")
def picture(results: tuple[Path, ...], png: Path) -> None:
    """Draw results that bench speed wrote as JSON."""
    draw_results(list(results), png)
