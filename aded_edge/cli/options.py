"""What the commands share: the model, the store, how a model runs, and the config file.

Knows click and the config file. Does not know what a command does with a value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from aded_edge.assistant.settings import load_settings
from aded_edge.errors import ConfigError
from aded_edge.store import default_store_path

F = TypeVar("F", bound=Callable[..., Any])

EVERYWHERE = ("model", "store")
"""Options of the config file's [defaults] that hold for every command. The chat takes all."""


class Command(click.Command):
    """A command whose options and arguments can be given in the config file, too."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parses the command line; what it does not give is taken from the config file.

        Raises:
            ConfigError: the config file cannot be used, or a value in it is refused.
        """
        if not set(args) & set(ctx.help_option_names):  # help needs no config file
            ctx.default_map = self.configured()
        try:
            return super().parse_args(ctx, args)
        except click.BadParameter as error:
            name = error.param.name if error.param is not None else None
            if name is None or ctx.get_parameter_source(name) is not ParameterSource.DEFAULT_MAP:
                raise
            value = (ctx.default_map or {})[name]
            raise ConfigError(f"config file: {name} = {value!r}: {error.message}") from error

    def configured(self) -> dict[str, Any]:
        """Returns the values of the config file by the names of the parameters."""
        return only(load_settings().defaults, EVERYWHERE)


def only(options: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """Returns the options that have one of these names."""
    return {name: value for name, value in options.items() if name in names}


class Group(click.Group):
    """Commands under one name."""

    command_class = Command
    group_class = type


class StorePath(click.ParamType[Path | None]):
    """Converts `--store`: "default" or a path gives a Path, "none" gives None.

    Args:
        needed: refuse "none".
    """

    name = "path"

    def __init__(self, needed: bool = False) -> None:
        self._needed = needed

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Path | None:
        if value == "none":
            if self._needed:
                raise ConfigError("--store none keeps nothing; give a path, or leave it out")
            return None
        return default_store_path() if value == "default" else Path(value).expanduser()


FilePath = click.Path(path_type=Path)

MODEL = click.argument("model")
"""A path, a name in the models folder, or hf:owner/repo. The command passes it to `resolve`."""

STORE = click.option(
    "--store",
    type=StorePath(needed=True),
    default="default",
    help="File of the matrix and the conversations. Default: in your data folder.",
)
"""For commands that need a store. Gives a Path."""

STORE_OR_NONE = click.option(
    "--store",
    type=StorePath(),
    default="default",
    help="File of the matrix and the conversations, or none. Default: in your data folder.",
)
"""For commands that can run without a store. Gives a Path, or None for `--store none`."""

JSON = click.option("--json", "json_", is_flag=True, help="Print JSON.")

THREADS = click.option("--threads", type=click.IntRange(1), help="Default: the physical cores.")


def how_it_runs(command: F) -> F:
    """Adds the options that say how a model is evaluated; see `runtime.options.llama_arguments`."""
    for option in (
        click.option("--flash-attn/--no-flash-attn", default=False, show_default=True),
        click.option("--gpu-layers", type=int, default=0, show_default=True),
        THREADS,
        click.option("--ctx", type=click.IntRange(64), default=2048, show_default=True),
    ):
        command = option(command)
    return command
