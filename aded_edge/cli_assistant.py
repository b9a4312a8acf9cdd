"""`python -m aded_edge history|notes|stats|models`: parses, calls, prints.

Knows options. Does not know how anything is kept or found.
"""

from __future__ import annotations

from pathlib import Path

import click

from .options import JSON, STORE, FilePath

NUMBER = click.IntRange(1, 2**63 - 1)
"""A conversation; SQLite counts no further."""


@click.group()
def history() -> None:
    """What was said: list, show, search, export, import, delete."""


@history.command("list")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True)
@STORE
@JSON
def history_list(store: str, limit: int, json_: bool) -> None:
    """List conversations, newest first."""
    from . import history_report

    history_report.list_(store, limit, json_)


@history.command("show")
@click.argument("number", type=NUMBER)
@STORE
@JSON
def history_show(store: str, number: int, json_: bool) -> None:
    """Show one conversation."""
    from . import history_report

    history_report.show(store, number, json_)


@history.command("search")
@click.argument("words", nargs=-1, required=True)
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True)
@STORE
@JSON
def history_search(store: str, words: tuple[str, ...], limit: int, json_: bool) -> None:
    """Find messages that hold all of these words, best first."""
    from . import history_report

    history_report.search(store, words, limit, json_)


@history.command("export")
@click.argument("numbers", type=NUMBER, nargs=-1)
@click.option("--out", type=FilePath, help="A .md or .json file. Default: to stdout.")
@STORE
@JSON
def history_export(store: str, numbers: tuple[int, ...], out: Path | None, json_: bool) -> None:
    """Write conversations as Markdown or JSON; without numbers all of them."""
    from . import history_report

    history_report.export(store, numbers, out, json_)


@history.command("import")
@click.argument("paths", type=FilePath, nargs=-1, required=True)
@STORE
def history_import(store: str, paths: tuple[Path, ...]) -> None:
    """Take in what was exported; what is there already is not doubled."""
    from . import history_report

    history_report.import_(store, paths)


@history.command("delete")
@click.argument("numbers", type=NUMBER, nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="Do not ask.")
@STORE
def history_delete(store: str, numbers: tuple[int, ...], yes: bool) -> None:
    """Delete conversations for good, and what the matrix learned of them alone."""
    from . import history_report

    history_report.delete(store, numbers, yes)


@click.group()
def notes() -> None:
    """Files and folders that the assistant searches for each question."""


@notes.command("add")
@click.argument("paths", type=FilePath, nargs=-1, required=True)
@STORE
def notes_add(store: str, paths: tuple[Path, ...]) -> None:
    """Make files and folders searchable; they are read again when they change."""
    from . import notes_report

    notes_report.add(store, paths)


@notes.command("list")
@STORE
def notes_list(store: str) -> None:
    """List what was added."""
    from . import notes_report

    notes_report.list_(store)


@notes.command("refresh")
@STORE
def notes_refresh(store: str) -> None:
    """Read what changed; a chat does so by itself."""
    from . import notes_report

    notes_report.refresh_(store)


@notes.command("search")
@click.argument("words", nargs=-1, required=True)
@click.option("--limit", type=click.IntRange(1), default=5, show_default=True)
@STORE
def notes_search(store: str, words: tuple[str, ...], limit: int) -> None:
    """Find passages that hold all of these words, best first."""
    from . import notes_report

    notes_report.search(store, words, limit)


@notes.command("remove")
@click.argument("paths", type=FilePath, nargs=-1, required=True)
@STORE
def notes_remove(store: str, paths: tuple[Path, ...]) -> None:
    """Make files and folders searchable no more; the files themselves stay."""
    from . import notes_report

    notes_report.remove(store, paths)


@click.command()
@click.option("--days", type=click.IntRange(1), default=30, show_default=True, help="Rows shown.")
@click.option("--png", type=FilePath, help="Draw it here; needs aded-edge[plot].")
@STORE
@JSON
def stats(store: str, days: int, json_: bool, png: Path | None) -> None:
    """Show that it learns: speed by day and conversation, and the matrix."""
    from . import stats_report

    stats_report.stats(store, days, json_, png)


@click.group()
def models() -> None:
    """Models on this machine, and those of a hub: list, fetch, remove."""


@models.command("list")
@JSON
def models_list(json_: bool) -> None:
    """List the models in models/ and in the hub's cache."""
    from . import models_report

    models_report.show(as_json=json_)


@models.command("fetch")
@click.argument("reference")
def models_fetch(reference: str) -> None:
    """Fetch hf:owner/repo[:file or quantisation], or the default model by its name."""
    from . import models_report

    models_report.fetch(reference)


@models.command("remove")
@click.argument("reference")
@click.option("--yes", is_flag=True, help="Do not ask.")
def models_remove(reference: str, yes: bool) -> None:
    """Remove a model from models/ or from the hub's cache."""
    from . import models_report

    models_report.remove(reference, yes=yes)
