"""`bench picture`: draw results of `bench speed` from their JSON files.

Knows options. Does not know what a picture shows.
"""

from __future__ import annotations

from pathlib import Path

import click

from aded_edge.bench.picture import draw_files

from ..options import Command, FilePath


@click.command(cls=Command)
@click.argument("results", type=FilePath, nargs=-1, required=True)
@click.option("--png", type=FilePath, required=True, help="The picture to write.")
def picture(results: tuple[Path, ...], png: Path) -> None:
    """Draw results that bench speed wrote as JSON."""
    draw_files(list(results), png)
