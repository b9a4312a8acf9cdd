"""`python -m aded_edge <command>`: parses, calls, prints.

Knows options and tables. Does not know how anything is done.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from .cli_assistant import history, models, notes, stats
from .cli_bench import bench
from .errors import AdedError
from .options import FilePath, how_it_runs


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="aded-edge", message="%(version)s")
def cli() -> None:
    """A local GGUF model answers faster and says the same.

    To chat with a model: python -m aded_edge.chat MODEL
    """


@cli.command()
@click.argument("model", type=FilePath)
@click.argument("paths", type=FilePath, nargs=-1, required=True)
@click.option("--store", default="default", help="File of the matrix.")
def learn(model: Path, paths: tuple[Path, ...], store: str) -> None:
    """Teach a model's matrix the texts in files and folders.

    Each text counts once, however often it is learned. In folders, what is hidden, installed
    packages and files that are no UTF-8 text are passed over.
    """
    from . import learn

    learn.learn(model, paths, store)


@cli.command()
@click.argument("model", type=FilePath)
@click.option("--minutes", type=click.FloatRange(0, min_open=True), required=True, help="How long.")
@click.option("--sequences", type=click.IntRange(1, 64), default=8, show_default=True)
@click.option("--openings", type=FilePath, help="Own topics, one a line.")
@click.option("--temperature", type=click.FloatRange(0), default=0.8, show_default=True)
@click.option("--max-tokens", type=click.IntRange(1), default=256, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--store", default="default", help="File of the matrix.")
@how_it_runs
def prime(model: Path, **options: Any) -> None:
    """Let a model talk to itself, so that its matrix knows how it talks.

    The sequences share the context: each holds --ctx / --sequences tokens, but at least 256.
    """
    from . import prime

    prime.prime(model, **options)


@cli.command()
@click.argument("model", type=FilePath)
@click.option("--store", default="default", help="File that keeps the costs, or none.")
@how_it_runs
@click.option("--json", "out", type=FilePath, help="Write the findings here.")
def doctor(model: Path, store: str, out: Path | None, **options: Any) -> None:
    """Measure what a model costs on this machine, and what drafting can bring there.

    The costs are kept for runs with the same settings, in the place of earlier ones.
    """
    from .bench import doctor_report

    doctor_report.doctor(model, store, out, **options)


for group in (bench, history, models, notes, stats):
    cli.add_command(group)


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
