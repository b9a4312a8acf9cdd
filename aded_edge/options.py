"""Options that several commands share.

Knows click. Does not know what is done with a value.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

FilePath = click.Path(path_type=Path)

F = TypeVar("F", bound=Callable[..., Any])

STORE = click.option("--store", default="default", help="File of conversations and matrix.")
JSON = click.option("--json", "json_", is_flag=True, help="As JSON.")


def how_it_runs(command: F) -> F:
    """The options of every command that evaluates a model."""
    for option in (
        click.option("--flash-attn/--no-flash-attn", default=False, show_default=True),
        click.option("--gpu-layers", type=int, default=0, show_default=True),
        click.option("--threads", type=click.IntRange(1), help="Default: all cores."),
        click.option("--ctx", type=click.IntRange(64), default=2048, show_default=True),
    ):
        command = option(command)
    return command
