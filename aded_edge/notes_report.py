"""`notes`: files and folders that stay searchable.

Knows tables and progress. Does not know how files are cut or searched.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from .assistant.documents import Refreshed, name_of, refresh
from .errors import ConfigError
from .history_report import opened
from .store import Store
from .store.search import all_of


def add(store: str, paths: Sequence[Path]) -> None:
    """Adds places and reads them."""
    for path in paths:
        if not path.exists():
            raise ConfigError(f"{path} does not exist; give files or folders that hold text")
    with opened(store, write=True) as file:
        for path in paths:
            file.notes.add_root(name_of(path))
        _tell(_refresh(file))


def refresh_(store: str) -> None:
    """Reads what changed."""
    with opened(store) as file:
        _tell(_refresh(file))


def list_(store: str) -> None:
    """Prints places and how many documents each has."""
    with opened(store) as file:
        roots, documents = file.notes.roots(), file.notes.documents()
    table = Table("documents", "place", box=None, pad_edge=False)
    for root in roots:
        below = root.rstrip("/") + "/"
        count = sum(path == root or path.startswith(below) for path in documents)
        table.add_row(str(count), root)
    Console(highlight=False, markup=False).print(table)


def remove(store: str, paths: Sequence[Path]) -> None:
    """Takes places back, with their documents."""
    with opened(store) as file:
        for path in paths:
            if not file.notes.remove_root(name_of(path)):
                raise ConfigError(f"{path} was never added; `aded_edge notes list` shows what was")
        _tell(_refresh(file))


def search(store: str, words: Sequence[str], limit: int) -> None:
    """Prints passages that hold all of the words."""
    with opened(store) as file:
        found = file.notes.match(all_of(" ".join(words)), limit)
    for passage in found:
        click.secho(f"{passage.path}:{passage.line}", bold=True)
        click.echo(f"{passage.text}\n")
    if not found:
        click.echo("nothing was found", err=True)


def _refresh(file: Store) -> Refreshed:
    with tqdm(unit="file", leave=False, disable=None) as bar:

        def progress(done: int, planned: int) -> None:
            bar.total = planned
            bar.update(done - bar.n)

        return refresh(file.notes, progress)


def _tell(refreshed: Refreshed) -> None:
    new, changed, gone, documents, skipped = refreshed
    click.echo(f"{documents} documents: {new} new, {changed} changed, {gone} gone")
    if str(skipped):
        click.echo(f"passed over: {skipped}", err=True)
