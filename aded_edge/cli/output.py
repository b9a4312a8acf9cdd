"""What the commands print with: a console for tables, dim lines for what goes on beside them.

Knows stdout and stderr. Does not know what is said.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.table import Table


def console() -> Console:
    """A console for stdout that takes text as it is: no markup, no colours of its own."""
    return Console(highlight=False, markup=False)


def plain_table(*columns: str, right: tuple[str, ...] = (), header: bool = True) -> Table:
    """A table without lines; the columns named in `right` are aligned to the right."""
    table = Table(box=None, pad_edge=False, show_header=header)
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left")
    return table


def dim(text: str) -> None:
    """A dim line on stderr."""
    click.secho(text, err=True, dim=True)


class DimLogHandler(logging.Handler):
    """Prints the package's log as dim lines on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        """Prints one line."""
        dim(record.getMessage())


@contextmanager
def progress_log() -> Iterator[None]:
    """Prints on stderr what the package logs meanwhile: what takes long, and why."""
    log, handler = logging.getLogger("aded_edge"), logging.StreamHandler()
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
