"""`python -m aded_edge <command>`: parses, calls, prints.

Knows options and tables. Does not know how anything is done.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from .errors import AdedError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="aded-edge", message="%(version)s")
def cli() -> None:
    """A local GGUF model answers faster and says the same.

    To chat with a model: python -m aded_edge.chat MODEL
    """


@cli.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--prompts", type=click.Path(path_type=Path), required=True, help="Spec-Bench JSONL.")
@click.option("--limit", type=click.IntRange(1), help="Dialogs, from all categories in turn.")
@click.option("--max-tokens", type=click.IntRange(2), default=128, show_default=True)
@click.option("--visits", type=click.IntRange(1), default=2, show_default=True)
@click.option("--decoders", default="llama_cpp,off,paper,auto", show_default=True)
@click.option("--temperature", type=click.FloatRange(0), default=0.0, show_default=True)
@click.option("--ctx", type=click.IntRange(64), default=2048, show_default=True)
@click.option("--threads", type=click.IntRange(1), help="Default: all cores.")
@click.option("--gpu-layers", type=int, default=0, show_default=True)
@click.option("--flash-attn/--no-flash-attn", default=False, show_default=True)
@click.option("--json", "out", type=click.Path(path_type=Path), help="Write the result here.")
def bench(model: Path, prompts: Path, limit: int | None, out: Path | None, **options: Any) -> None:
    """Measure speed against llama_cpp.Llama, first visit and second."""
    from .bench import report

    report.bench(model, prompts, limit, out, **options)


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
