"""`bench speed`: measure decoders side by side; print tables, write JSON and a picture.

Knows tables and progress bars. Does not know how figures are computed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from aded_edge.bench.dialogs import ALL_CATEGORIES, Dialog, load_dialogs
from aded_edge.bench.picture import draw
from aded_edge.bench.results import save_result
from aded_edge.bench.speed.decoders import AUTO, LOCAL, PLAIN, RunSettings
from aded_edge.bench.speed.run import DECODERS, run, taking_part
from aded_edge.bench.speed.server import SERVERS
from aded_edge.bench.speed.summary import describe_conditions
from aded_edge.errors import BenchError
from aded_edge.files import check_picture
from aded_edge.models.resolve import resolve

from ..options import MODEL, Command, FilePath, FiniteRange, how_it_runs
from ..output import console

COLUMNS = ("first", "answer", "quartiles", "tokens/s", "gen.", "MAT", "same")
"""Columns of the printed table that have figures."""

_ROUNDED = 256
"""A context made for agent runs is a multiple of this."""


UNASKED = ("off", "exact")
"""Decoders that only run where they are named: they are for questions of their own."""


@click.command(cls=Command)
@MODEL
@click.option(
    "--prompts",
    type=FilePath,
    required=True,
    multiple=True,
    help="JSONL: Spec-Bench's, or agent runs (messages). May be given several times.",
)
@click.option(
    "--limit", type=click.IntRange(1), help="Number of dialogs, from all categories in turn."
)
@click.option("--max-tokens", type=click.IntRange(2), default=128, show_default=True)
@click.option(
    "--long-tokens",
    type=click.IntRange(256),
    default=4000,
    show_default=True,
    help="Tokens of a prompt made of an agent run, about.",
)
@click.option("--visits", type=click.IntRange(1), default=2, show_default=True)
@click.option(
    "--runs",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Repeat all visits, each time with an empty store; figures are medians.",
)
@click.option(
    "--baseline",
    type=FilePath,
    help="Python interpreter that runs llama_cpp. Default: the one that runs this.",
)
@click.option("--decoders", help="Separated by commas. Default: all but off and exact.")
@click.option("--llama-server", type=FilePath, help="Path of llama.cpp's llama-server.")
@click.option(
    "--peer-dialogs",
    type=click.IntRange(0),
    help="Number of dialogs for decoders other than llama_cpp and auto. Default: all.",
)
@click.option("--temperature", type=FiniteRange(0), default=0.0, show_default=True)
@how_it_runs
@click.option("--json", "out", type=FilePath, help="Write the result here, after each dialog.")
@click.option("--png", type=FilePath, help="Draw it here; needs matplotlib.")
def speed(
    model: str,
    prompts: tuple[Path, ...],
    limit: int | None,
    out: Path | None,
    png: Path | None,
    *,
    decoders: str | None,
    llama_server: Path | None,
    baseline: Path | None,
    ctx: int,
    **options: Any,
) -> None:
    """Measure how soon an answer begins and ends, first visit and second.

    \b
    Decoders: llama_cpp in a process of its own, with which all others are compared; auto, exact,
    off and paper, which are aded-edge; lookup-10 and lookup-2, which are llama_cpp's prompt
    lookup; and with --llama-server also server, ngram-simple, ngram-map-k, ngram-mod and
    ngram-cache.
    """
    names = _decoders(decoders, llama_server)
    if png is not None:
        check_picture(png)
    dialogs = load_dialogs(prompts, limit)
    file = resolve(model)  # last, because it may download
    given = click.get_current_context().get_parameter_source("ctx") != ParameterSource.DEFAULT
    settings = RunSettings(
        model=str(file),
        prompts=tuple(map(str, prompts)),
        decoders=names,
        baseline=_text(baseline),
        llama_server=_text(llama_server),
        n_ctx=ctx if given else _room(dialogs, ctx, **options),
        **options,
    )

    def keep(result: dict[str, Any]) -> None:
        if out is not None:
            save_result(result, out)

    with tqdm(total=_planned(settings, dialogs), unit="answer") as bar:
        result = run(settings, dialogs, lambda answers: bar.update(answers) and None, keep)
    to = console()
    show(result, to)
    if out is not None:
        to.print(f"Written to {out}.")
    if png is not None:
        draw([result], png)
        to.print(f"Drawn to {png}.")


def _decoders(asked: str | None, llama_server: Path | None) -> tuple[str, ...]:
    if asked is None:
        known = (name for name in LOCAL if name not in UNASKED)
        return (PLAIN, *known, *(SERVERS if llama_server is not None else ()))
    names = dict.fromkeys(name.strip() for name in asked.split(",") if name.strip())
    for name in names:
        if name not in DECODERS:
            raise BenchError(f"there is no decoder {name!r}; choose from {', '.join(DECODERS)}")
        if name in SERVERS and llama_server is None:
            raise BenchError(
                f"the decoder {name!r} needs --llama-server with the path of its binary"
            )
    return tuple({PLAIN: None, **names})


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _room(dialogs: list[Dialog], ctx: int, *, long_tokens: int, max_tokens: int, **_: Any) -> int:
    """Return a context that the prompts of agent runs fit into, if there are any."""
    if not any(dialog.before for dialog in dialogs):
        return ctx
    return max(ctx, -(-(long_tokens + max_tokens + 1) // _ROUNDED) * _ROUNDED)


def _planned(settings: RunSettings, dialogs: list[Dialog]) -> int:
    answers = (
        len(dialog.turns) * len(taking_part(settings, place))
        for place, dialog in enumerate(dialogs)
    )
    return settings.runs * settings.visits * sum(answers)


def show(result: dict[str, Any], to: Console) -> None:
    """Print the conditions and one table per visit."""
    to.print(describe_conditions(result))
    to.print(
        "How many times as fast as llama_cpp: first, to the first piece of text; answer, to the "
        "end of the answer, with the quartiles of the turns; gen., from one to the other."
    )
    for visit, store in result["stores"].items():
        rows = [row for row in result["summary"] if f"visit {row['visit']}" == visit]
        to.print(f"\n{visit}, {store} store")
        to.print(_table(rows))
        costs = {int(width): cost for width, cost in result["cost_curves"][visit].items()}
        if costs:
            curve = ", ".join(f"{w}: {c / costs[1]:.1f}" for w, c in costs.items() if w > 1)
            to.print(f"A plain evaluation takes {costs[1] * 1000:.1f} ms; cost by width: {curve}.")
        for row in rows:
            if row["category"] == ALL_CATEGORIES and row["decoder"] == AUTO:
                to.print(_about_auto(row))


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table(box=None, padding=(0, 1), pad_edge=False, collapse_padding=True)
    for name in ("category", "decoder"):
        table.add_column(name, no_wrap=True)
    for name in COLUMNS:
        table.add_column(name, justify="right", no_wrap=True)
    before = ""
    for row in rows:
        low, high = row["answer_quartiles"]
        table.add_row(
            row["category"] if row["category"] != before else "",
            row["decoder"],
            f"{row['first']:.2f}",
            f"{row['answer']:.2f}",
            f"{low:.2f} {high:.2f}",
            f"{row['speed']:.1f}",
            f"{row['generation']:.2f}",
            f"{row['mat']:.2f}",
            f"{row['identical']:.0%}",
        )
        before = row["category"]
    return table


def _about_auto(row: dict[str, Any]) -> str:
    text = f"auto answers {row['answer']:.2f} times as fast as llama_cpp"
    if "worst" in row:
        text += f"; worst category: {row['worst']['category']}, {row['worst']['answer']:.2f}"
    text += ". "
    if "oracle_speedup" in row:
        text += (
            f"The oracle would generate {row['oracle_speedup']:.2f} times as fast as llama_cpp; "
            f"auto reached {row['oracle_share']:.0%} of the oracle's speed. "
        )
    if "overhead" in row:
        shares = ", ".join(f"{part} {share:.1%}" for part, share in row["shares"].items())
        text += f"Overhead {row['overhead']:.1%} of auto's time: {shares}."
    return text
