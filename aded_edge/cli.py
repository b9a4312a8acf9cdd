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
@click.option("--decoders", help="Default: llama_cpp, auto, lookup-10, lookup-2, paper, servers.")
@click.option("--llama-server", type=FilePath, help="llama.cpp's server, to be compared with.")
@click.option(
    "--peer-dialogs", type=click.IntRange(0), help="Others than auto answer only so many dialogs."
)
@click.option("--temperature", type=click.FloatRange(0), default=0.0, show_default=True)
@_how_it_runs
@click.option("--json", "out", type=FilePath, help="Write the result here, dialog by dialog.")
@click.option("--png", type=FilePath, help="Draw it here; needs aded-edge[plot].")
def speed(model: Path, prompts: Path, limit: int | None, out: Path | None, **options: Any) -> None:
    """Measure speed against llama_cpp.Llama and others, first visit and second.

    \b
    Decoders: llama_cpp, with which all are compared; auto, off and paper of aded-edge; lookup-10
    and lookup-2, llama_cpp's prompt lookup; and of --llama-server: server, ngram-simple,
    ngram-map-k, ngram-mod and ngram-cache.
    """
    from .bench import report

    report.bench(model, prompts, limit, out, **options)


@bench.command()
@click.argument("results", type=FilePath, nargs=-1, required=True)
@click.option("--png", type=FilePath, required=True, help="The picture.")
def picture(results: tuple[Path, ...], png: Path) -> None:
    """Draw results that bench speed wrote as JSON."""
    from .bench import picture

    picture.picture(list(results), png)


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


@bench.command()
@click.argument("trace", type=FilePath)
@click.option(
    "--cost", default="measured", show_default=True, help="measured, laptop, gpu, or a JSON file."
)
@click.option("--visits", type=click.IntRange(1), default=2, show_default=True)
@click.option("--warm", type=FilePath, multiple=True, help="A trace to learn from first.")
@click.option("--store", type=FilePath, help="A matrix to start from.")
@click.option(
    "--search",
    type=click.Choice(["best-first", "puct"]),
    default="best-first",
    show_default=True,
    help="puct is the paper's, with its tree evaluated whole.",
)
@click.option("--leaves", type=click.IntRange(1, 64), help="Default: 1, or 16 at flat costs.")
@click.option("--longest", type=click.IntRange(1), default=32, show_default=True, help="Context.")
@click.option("--kappa", type=click.FloatRange(0), default=0.7, show_default=True)
@click.option("--hard", type=click.FloatRange(0), default=1.0, show_default=True)
@click.option("--soft", type=click.FloatRange(0), default=1.0, show_default=True)
@click.option("--trusting", is_flag=True, help="No calibration.")
@click.option("--overhead", type=click.FloatRange(0), default=0.0, show_default=True)
@click.option("--json", "out", type=FilePath, help="Write the result here.")
def replay(trace: Path, **options: Any) -> None:
    """Try drafting on a trace, without the model.

    The first visit is cold, unless --warm or --store say otherwise.
    """
    from .bench import replay_report

    replay_report.replay(trace, **options)


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
@_how_it_runs
def prime(model: Path, **options: Any) -> None:
    """Let a model talk to itself, so that its matrix knows how it talks.

    The sequences share the context: each holds --ctx / --sequences tokens, but at least 256.
    """
    from . import prime

    prime.prime(model, **options)


@cli.command()
@click.argument("model", type=FilePath)
@click.option("--store", default="default", help="File that keeps the costs, or none.")
@_how_it_runs
@click.option("--json", "out", type=FilePath, help="Write the findings here.")
def doctor(model: Path, store: str, out: Path | None, **options: Any) -> None:
    """Measure what a model costs on this machine, and what drafting can bring there.

    The costs are kept for runs with the same settings, in the place of earlier ones.
    """
    from .bench import doctor_report

    doctor_report.doctor(model, store, out, **options)


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
