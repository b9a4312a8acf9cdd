"""`notes`: files and folders that the assistant searches for each question.

Knows tables and progress. Does not know how files are cut or searched.
"""

from __future__ import annotations

from pathlib import Path

import click
from tqdm import tqdm

from aded_edge.assistant.documents import Refreshed, name_of
from aded_edge.assistant.documents import refresh as refresh_notes
from aded_edge.errors import ConfigError
from aded_edge.store import Store

from .history import opened, tell_what_is_left
from .options import STORE, FilePath, Group
from .output import console, plain_table, say


@click.group(cls=Group)
def notes() -> None:
    """Files and folders that the assistant searches for each question."""


@notes.command("add")
@click.argument("paths", type=FilePath, nargs=-1, required=True)
@STORE
def add(store: Path, paths: tuple[Path, ...]) -> None:
    """Make files and folders searchable; they are read again when they change."""
    for path in paths:
        if not path.exists():
            raise ConfigError(f"{path} does not exist; give files or folders that hold text")
    with opened(store, create=True) as file:
        for path in paths:
            file.notes.add_root(name_of(path))
        _tell(_refresh(file))


@notes.command("list")
@STORE
def list_(store: Path) -> None:
    """List the added files and folders."""
    with opened(store) as file:
        roots, documents = file.notes.roots(), file.notes.documents()
    table = plain_table("documents", "place")
    for root in roots:
        below = root.rstrip("/") + "/"
        count = sum(path == root or path.startswith(below) for path in documents)
        table.add_row(str(count), root)
    console().print(table)


@notes.command("refresh")
@STORE
def refresh(store: Path) -> None:
    """Read changed files now. A chat does this by itself."""
    with opened(store) as file:
        _tell(_refresh(file))


@notes.command("search")
@click.argument("words", nargs=-1, required=True)
@click.option("--limit", type=click.IntRange(1), default=5, show_default=True)
@STORE
def search(store: Path, words: tuple[str, ...], limit: int) -> None:
    """Find passages that hold all of these words, best first."""
    with opened(store) as file:
        found = file.notes.search(" ".join(words), limit)
    for passage in found:
        say(f"{passage.path}:{passage.line}", bold=True)
        say(f"{passage.text}\n")
    if not found:
        say("nothing was found", err=True)


@notes.command("remove")
@click.argument("paths", type=FilePath, nargs=-1, required=True)
@STORE
def remove(store: Path, paths: tuple[Path, ...]) -> None:
    """Stop searching files and folders, and remove what was recalled of them from conversations.

    The files themselves are not deleted.
    """
    with opened(store) as file:
        for path in paths:
            if not file.notes.remove_root(name_of(path)):
                raise ConfigError(f"{path} was never added; `aded-edge notes list` shows all")
        _tell(_refresh(file))


def _refresh(file: Store) -> Refreshed:
    with tqdm(unit="file", leave=False, disable=None) as bar:

        def progress(done: int, planned: int) -> None:
            bar.total = planned
            bar.update(done - bar.n)

        return refresh_notes(file.notes, progress)


def _tell(refreshed: Refreshed) -> None:
    new, changed, gone, documents, skipped, forgotten = refreshed
    say(f"{documents} documents: {new} new, {changed} changed, {gone} gone")
    if str(skipped):
        say(f"skipped: {skipped}", err=True)
    if gone:
        tell_what_is_left(forgotten)
