"""`python -m aded_edge bench`: parses, calls, prints.

Knows options. Does not know how anything is measured.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .options import FilePath, how_it_runs


class _SpeedByDefault(click.Group):
    """`bench MODEL` means `bench speed MODEL`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, *ctx.help_option_names):
            args = ["speed", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_SpeedByDefault)
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
@how_it_runs
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
@how_it_runs
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


@bench.command()
@click.argument("model", type=FilePath)
@click.option("--prompts", type=FilePath, help="Own sessions. Default: those that are shipped.")
@click.option("--limit", type=click.IntRange(1), help="Sessions.")
@click.option("--max-tokens", type=click.IntRange(2), default=128, show_default=True)
@click.option("--temperature", type=click.FloatRange(0), default=0.0, show_default=True)
@click.option("--threads", type=click.IntRange(1), help="Default: the physical cores, about.")
@click.option("--ctx", type=click.IntRange(64), default=4096, show_default=True)
@click.option("--json", "out", type=FilePath, help="Write the result here.")
@click.option("--png", type=FilePath, help="Draw it here; needs aded-edge[plot].")
def month(
    model: Path, prompts: Path | None, limit: int | None, out: Path | None, **options: Any
) -> None:
    """Simulate a month with the assistant: 30 sessions over recurring topics."""
    from .bench import month_report

    month_report.month(model, prompts, limit, out, **options)
