"""`python -m aded_edge <command>`: parses, calls, prints.

Knows options and tables. Does not know how anything is done.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from .errors import AdedError

FilePath = click.Path(path_type=Path)

F = TypeVar("F", bound=Callable[..., Any])


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="aded-edge", message="%(version)s")
def cli() -> None:
    """A local GGUF model answers faster and says the same.

    To chat with a model: python -m aded_edge.chat MODEL
    """


def _how_it_runs(command: F) -> F:
    """The options of every command that evaluates a model."""
    for option in (
        click.option("--flash-attn/--no-flash-attn", default=False, show_default=True),
        click.option("--gpu-layers", type=int, default=0, show_default=True),
        click.option("--threads", type=click.IntRange(1), help="Default: all cores."),
        click.option("--ctx", type=click.IntRange(64), default=2048, show_default=True),
    ):
        command = option(command)
    return command


class _SpeedByDefault(click.Group):
    """`bench MODEL` means `bench speed MODEL`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, *ctx.help_option_names):
            args = ["speed", *args]
        return super().parse_args(ctx, args)


@cli.group(cls=_SpeedByDefault)
def bench() -> None:
    """Measure: speed with the model, or drafts without it.

    bench MODEL is short for bench speed MODEL.
    """


@bench.command()
@click.argument("model", type=FilePath)
@click.option("--prompts", type=FilePath, required=True, help="Spec-Bench JSONL.")
@click.option("--limit", type=click.IntRange(1), help="Dialogs, from all categories in turn.")
@click.option("--max-tokens", type=click.IntRange(2), default=128, show_default=True)
@click.option("--visits", type=click.IntRange(1), default=2, show_default=True)
@click.option("--decoders", default="llama_cpp,off,paper,auto", show_default=True)
@click.option("--temperature", type=click.FloatRange(0), default=0.0, show_default=True)
@_how_it_runs
@click.option("--json", "out", type=FilePath, help="Write the result here.")
def speed(model: Path, prompts: Path, limit: int | None, out: Path | None, **options: Any) -> None:
    """Measure speed against llama_cpp.Llama and others, first visit and second."""
    from .bench import report

    report.bench(model, prompts, limit, out, **options)


@bench.command()
@click.argument("model", type=FilePath)
@click.option("--prompts", type=FilePath, required=True, help="Spec-Bench JSONL.")
@click.option("--out", type=FilePath, required=True, help="The trace, an .npz file.")
@click.option("--limit", type=click.IntRange(1), help="Dialogs, from all categories in turn.")
@click.option("--max-tokens", type=click.IntRange(2), default=192, show_default=True)
@click.option("--temperature", type=click.FloatRange(0), default=0.0, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@_how_it_runs
def record(model: Path, prompts: Path, out: Path, limit: int | None, **options: Any) -> None:
    """Keep a model's answers, so that drafting can be tried without it."""
    from .bench import record

    record.record(model, prompts, out, limit, **options)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of `aded-edge`."""
    sys.exit(guarded(cli, arguments))


def guarded(command: click.Command, arguments: Sequence[str] | None = None) -> int:
    """Runs a command; a user's error becomes one line on stderr. Returns the exit status."""
    try:
        status = command.main(arguments, standalone_mode=False)
    except AdedError as error:
        click.echo(f"aded-edge: {error}", err=True)
        return 1
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return 130
    return status if isinstance(status, int) else 0
