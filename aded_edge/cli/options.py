"""What the commands share: the model, the store, how a model runs, and the config file.

Knows click and the config file. Does not know what a command does with a value.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from aded_edge.assistant.settings import load_settings
from aded_edge.errors import ConfigError
from aded_edge.runtime.options import LEAST_CTX, MOST_CTX, default_threads
from aded_edge.store import default_store_path

F = TypeVar("F", bound=Callable[..., Any])

CTX = click.IntRange(LEAST_CTX, MOST_CTX)
"""The type of --ctx, everywhere."""


class Command(click.Command):
    """A command that takes `model` and `store` from the config file if its line lacks them."""

    from_config: frozenset[str] = frozenset(("model", "store"))
    """Options of [defaults] that apply to every command that has them. The chat takes all."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parses the command line; what it does not give is taken from the config file.

        Raises:
            ConfigError: the config file cannot be used, or a value in it is refused.
        """
        if not set(args) & set(ctx.help_option_names):  # help does not need the config file
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
        """Return the values of the config file by the names of the parameters."""
        wanted = self.from_config & self.names()
        if not wanted:
            return {}
        return {k: v for k, v in load_settings().defaults.items() if k in wanted}

    def names(self) -> set[str | None]:
        """Return the names of the parameters."""
        return {param.name for param in self.params}


class Group(click.Group):
    """Commands under one name.

    Args:
        modules: name of a command -> the module of this folder that defines it by this name. It is
            imported when the command is used, so that a quick one does not wait for the others.
    """

    command_class = Command
    group_class = type

    def __init__(self, *args: Any, modules: Mapping[str, str] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._modules = dict(modules or {})

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, sorted."""
        return sorted({*self.commands, *self._modules})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command by its name; import its module if that is not done yet."""
        if cmd_name in self._modules and cmd_name not in self.commands:
            module = importlib.import_module(f"{__package__}.{self._modules[cmd_name]}")
            self.add_command(getattr(module, cmd_name), cmd_name)
        return super().get_command(ctx, cmd_name)


# Not ParamType[...]: click before 8.4 cannot be subscripted.
class StorePath(click.ParamType):  # type: ignore[type-arg]
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
                raise ConfigError(
                    "--store none keeps nothing, and this command needs a store; give a path, or "
                    "--store default"
                )
            return None
        return default_store_path() if value == "default" else Path(value).expanduser()


FilePath = click.Path(path_type=Path)


class FiniteRange(click.FloatRange):
    """A range of numbers, without "inf" and "nan", which are no numbers to compute with."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number.", param, ctx)
        return number


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

THREADS = click.option(
    "--threads",
    type=click.IntRange(1),
    default=default_threads,
    help="Default: the physical cores.",
)


RPC = click.option(
    "--rpc",
    metavar="HOST:PORT,...",
    help="Workers that take the model's layers; see aded-edge worker.",
)


def how_it_runs(command: F) -> F:
    """Adds the options that say how a model is evaluated; see `runtime.options.llama_arguments`."""
    for option in (
        click.option("--flash-attn/--no-flash-attn", default=False, show_default=True),
        click.option("--gpu-layers", type=int, default=0, show_default=True),
        THREADS,
        click.option("--ctx", type=CTX, default=2048, show_default=True),
    ):
        command = option(command)
    return command
