"""Consoles and tables for stdout, dim lines and the log for stderr.

Knows terminals, and what several commands say of a deletion. Does not know what else is printed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.table import Table

MERGED = (
    "some of what the matrix learned from it is merged with other conversations: "
    "aded-edge forget deletes all that was learned"
)

REMNANTS = (
    "another program is using the store, whose file or log may still hold it: close that program, "
    "and then run aded-edge history delete, without a number"
)


def console() -> Console:
    """Returns a console for stdout that prints text unchanged, without markup or highlighting."""
    return Console(highlight=False, markup=False)


def plain_table(*columns: str, right: tuple[str, ...] = (), header: bool = True) -> Table:
    """Returns a table without rules. The columns named in `right` are right-aligned."""
    table = Table(box=None, pad_edge=False, show_header=header)
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left")
    return table


def dim(text: str) -> None:
    """Prints a dim line on stderr."""
    click.secho(text, err=True, dim=True)


class DimLogHandler(logging.Handler):
    """Prints the package's log as dim lines on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        """Prints one line."""
        dim(record.getMessage())


@contextmanager
def progress_log() -> Iterator[None]:
    """Prints the package's log on stderr while the context is open."""
    log, handler = logging.getLogger("aded_edge"), logging.StreamHandler()
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
