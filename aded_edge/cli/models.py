"""`models`: models on this machine and those of a hub, listed, fetched and removed.

Knows tables and questions. Does not know where models lie, nor how they get there.
"""

from __future__ import annotations

import click
from rich.box import SIMPLE
from rich.filesize import decimal
from rich.table import Table

from aded_edge.models import Model, all_models, hub_cache, models_folder, removable
from aded_edge.models import fetch as fetch_model
from aded_edge.models import remove as remove_model

from .options import JSON, Group
from .output import agreed, console, data, print_json, say


@click.group(cls=Group)
def models() -> None:
    """Models on this machine, and those of a hub: list, fetch, remove."""


@models.command("list")
@JSON
def list_(json_: bool) -> None:
    """List the models in models/ and in the hub's cache."""
    there = all_models()
    if json_:
        print_json([_as_dict(model) for model in there], indent=2)
        return
    out = console()
    if there:
        out.print(_table(there))
    else:
        out.print("No models yet; 'aded-edge models fetch hf:owner/repo' downloads one.")
    out.print(f"models folder: {models_folder()}\nhub cache: {hub_cache()}", soft_wrap=True)


@models.command("fetch")
@click.argument("reference")
def fetch(reference: str) -> None:
    """Fetch hf:owner/repo[:file or quantisation], or the default model by its name."""
    data(f"{fetch_model(reference)}\n")  # the path, and nothing else, on stdout


@models.command("remove")
@click.argument("reference")
@click.option("--yes", is_flag=True, help="Do not ask.")
def remove(reference: str, yes: bool) -> None:
    """Remove a model from models/ or from the hub's cache."""
    doomed = removable(reference)
    if not yes:
        for model in doomed:
            say(f"{model.name}, {decimal(model.size)}: {model.path}", err=True)
        agreed("Remove it?" if len(doomed) == 1 else "Remove them?", abort=True)
    for model in doomed:
        freed = remove_model(model)
        say(f"removed {model.name}: {decimal(freed)} freed")


def _table(there: list[Model]) -> Table:
    table = Table(box=SIMPLE)
    table.add_column("model", overflow="fold")
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("in", no_wrap=True)
    for model in there:
        place = "models folder" if model.repo is None else "hub cache"
        table.add_row(model.name, decimal(model.size), place)
    return table


def _as_dict(model: Model) -> dict[str, object]:
    return {
        "name": model.name,
        "bytes": model.size,
        "path": str(model.path),
        "repo": model.repo,
    }
