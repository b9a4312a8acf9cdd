"""All that a command writes on a terminal goes through here, and is made harmless.

Texts for people have their control characters written out. JSON has them as escapes of JSON. Data
(an answer, an export) is written unchanged into a pipe or a file, and made harmless on a terminal.

Knows terminals, and what several commands say of a deletion. Does not know what else is printed.
"""

from __future__ import annotations

import base64
import io
import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from aded_edge.shown import one_line, visible


class _Console(Console):
    def render_str(self, text: str, **options: Any) -> Text:
        """Every string that is printed, also one in a table, is made a Text here."""
        return super().render_str(visible(text), **options)


MERGED = (
    "some of what the matrix learned from it is merged with other conversations: "
    "aded-edge forget deletes all that was learned"
)


def console() -> Console:
    """Returns a console for stdout that prints text without markup, highlighting or emoji codes.

    Strings are made harmless. A `Text` is not: give it `visible` text.
    """
    return _Console(highlight=False, markup=False, emoji=False)


def plain_table(*columns: str, right: tuple[str, ...] = (), header: bool = True) -> Table:
    """Returns a table without rules. The columns named in `right` are right-aligned."""
    table = Table(box=None, pad_edge=False, show_header=header)
    for column in columns:
        justify = "right" if column in right else "left"
        table.add_column(column, justify=justify, overflow="fold")  # type: ignore[arg-type]
    return table


def say(text: str = "", *, err: bool = False, bold: bool = False) -> None:
    """Prints a line for people."""
    click.secho(visible(text), err=err, bold=bold or None)


def dim(text: str) -> None:
    """Prints a dim line on stderr."""
    click.secho(visible(text), err=True, dim=True)


def complain(error: Exception | str) -> None:
    """Prints an error in one line on stderr."""
    say(f"aded-edge: {one_line(str(error))}", err=True)


def complain_of_usage(error: click.ClickException) -> None:
    """Prints an error of the command line as click does, on stderr."""
    text = io.StringIO()
    error.show(text)
    say(text.getvalue().rstrip("\n"), err=True)


def agreed(question: str, *, default: bool = False, abort: bool = False) -> bool:
    """Asks on stderr.

    Raises:
        click.Abort: the input ends, or with `abort`, the answer is no.
    """
    return click.confirm(visible(question), default=default, abort=abort, err=True)


def data(text: str) -> None:
    """Writes a text on stdout: unchanged into a pipe or a file, made harmless on a terminal."""
    sys.stdout.write(visible(text) if sys.stdout.isatty() else text)
    sys.stdout.flush()


def print_json(value: Any, indent: int | None = None) -> None:
    """Prints JSON. What a terminal would obey is escaped in it, so that its content is the same."""
    click.echo(visible(json.dumps(value, ensure_ascii=False, indent=indent)))


def to_clipboard(text: str) -> None:
    """Asks the terminal to fill its clipboard: OSC 52, which works over ssh and in tmux too."""
    encoded = base64.b64encode(text.encode("utf-8", "replace")).decode()
    sys.stderr.write(f"\x1b]52;c;{encoded}\x07")
    sys.stderr.flush()


class DimLogHandler(logging.Handler):
    """Prints the package's log as dim lines on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        """Prints one line."""
        dim(record.getMessage())


@contextmanager
def progress_log() -> Iterator[None]:
    """Prints what the package is doing, on stderr, while the context is open."""
    log = logging.getLogger("aded_edge")
    level = log.level
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.setLevel(level)
