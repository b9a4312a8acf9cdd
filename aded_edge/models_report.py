"""`models list`, `models fetch` and `models remove`: calls, asks and prints.

Knows tables and questions. Does not know where models lie, nor how they get there.
"""

from __future__ import annotations

import json

import click
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from . import models
from .models import Model, in_words


def show(*, as_json: bool) -> None:
    """Prints all models on this machine: a table, or with `as_json` one list of objects."""
    there = models.models()
    if as_json:
        click.echo(json.dumps([_as_dict(model) for model in there], indent=2, ensure_ascii=False))
        return
    console = Console(highlight=False, markup=False)
    folder, cache = models.models_folder(), models.hub_cache()
    if there:
        console.print(_table(there))
    else:
        console.print("No models yet; 'aded-edge models fetch hf:owner/repo' brings one.")
    console.print(f"models folder: {folder}\nhub cache: {cache}", soft_wrap=True)


def fetch(reference: str) -> None:
    """Fetches a model and prints its path, and nothing else, on stdout.

    Raises:
        ModelError: there is no such model, or there are several.
        ModelFetchError: it could not be downloaded.
    """
    click.echo(models.fetch(reference))


def remove(reference: str, *, yes: bool) -> None:
    """Removes a model, or all of a bare repo's, and says what that frees.

    Args:
        reference: see `models.removable`.
        yes: do not ask.

    Raises:
        ModelError: it is not there, lies elsewhere, or cannot be removed.
        click.Abort: the user does not want it.
    """
    doomed = models.removable(reference)
    if not yes:
        for model in doomed:
            click.echo(f"{model.name}, {in_words(model.size)}: {model.path}", err=True)
        click.confirm("Remove it?" if len(doomed) == 1 else "Remove them?", abort=True, err=True)
    for model in doomed:
        freed = models.remove(model)
        click.echo(f"removed {model.name}: {in_words(freed)} freed")


def _table(there: list[Model]) -> Table:
    table = Table(box=SIMPLE)
    table.add_column("model", overflow="fold")
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("in", no_wrap=True)
    for model in there:
        place = "models folder" if model.repo is None else "hub cache"
        table.add_row(model.name, in_words(model.size), place)
    return table


def _as_dict(model: Model) -> dict[str, object]:
    return {
        "name": model.name,
        "bytes": model.size,
        "path": str(model.path),
        "repo": model.repo,
    }
