"""`bench replay`: try drafting on traces and transcripts; print tables and write JSON.

Knows options and tables. Does not know how figures are computed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.box import SIMPLE
from rich.table import Table
from tqdm import tqdm

from aded_edge.bench.replay.compare import AUTO, POLICIES, Row, compare, visits_of
from aded_edge.bench.replay.curves import Curve, load_curves
from aded_edge.bench.replay.run import Replay, leaves_for
from aded_edge.bench.replay.trace import Trace
from aded_edge.bench.replay.transcript import read_transcript
from aded_edge.bench.results import check_folder, save_result
from aded_edge.draft.drafter import AdaptiveDrafter, PaperDrafter
from aded_edge.errors import BenchError
from aded_edge.models.default import DEFAULT_MODEL
from aded_edge.models.resolve import resolve
from aded_edge.runtime.persistence import load_learned

from ..options import Command, FilePath, FiniteRange, StorePath
from ..output import console

_DEPTHS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48)
"""Depths that are printed; the JSON has all of them."""


class _Replay(Command):
    """Ignores the config file: a store in it must not warm a visit that should be cold."""

    from_config = frozenset()


@click.command(cls=_Replay)
@click.argument("traces", type=FilePath, nargs=-1, required=True)
@click.option(
    "--cost",
    default="measured",
    show_default=True,
    help="machines (all published curves), one of their names, measured, laptop, gpu, or a JSON "
    "file of one curve or several.",
)
@click.option(
    "--model",
    default=DEFAULT_MODEL.file,
    show_default=True,
    help="A transcript is read in the tokens of this model.",
)
@click.option("--visits", type=click.IntRange(1), default=2, show_default=True)
@click.option(
    "--warm", type=FilePath, multiple=True, help="A trace to learn from first; may be repeated."
)
@click.option(
    "--store",
    type=StorePath(),
    default="none",
    show_default=True,
    help="Start with the matrix of this store: a file, default, or none.",
)
@click.option(
    "--search",
    type=click.Choice(["best-first", "puct"]),
    default="best-first",
    show_default=True,
    help="puct is ADED's as published; its tree is evaluated whole.",
)
@click.option("--leaves", type=click.IntRange(1, 64), help="Default: 1, or 16 at flat costs.")
@click.option(
    "--longest", type=click.IntRange(1), default=32, show_default=True, help="Context, in tokens."
)
@click.option(
    "--kappa",
    type=FiniteRange(0),
    default=0.7,
    show_default=True,
    help="Weight of shorter contexts in an estimate.",
)
@click.option(
    "--hard",
    type=FiniteRange(0),
    default=1.0,
    show_default=True,
    help="Weight of a chosen token when it is learned.",
)
@click.option(
    "--soft",
    type=FiniteRange(0),
    default=1.0,
    show_default=True,
    help="Weight of the target's candidates when they are learned.",
)
@click.option("--trusting", is_flag=True, help="Take estimates as they are, without calibration.")
@click.option(
    "--overhead",
    type=FiniteRange(0),
    default=0.0,
    show_default=True,
    help="Cost of drafting in each step, in plain evaluations.",
)
@click.option("--json", "out", type=FilePath, help="Write the result here.")
def replay(
    traces: tuple[Path, ...],
    *,
    cost: str,
    model: str,
    visits: int,
    warm: tuple[Path, ...],
    store: Path | None,
    search: str,
    leaves: int | None,
    overhead: float,
    out: Path | None,
    **drafting: Any,
) -> None:
    """Try drafting on traces of `bench record`, without the model, and compare it with others.

    Two traces of one temperature are the first and the second visit. A file that ends in .jsonl
    is a transcript: lines with messages, each with a role and a content. The first visit starts
    with an empty matrix, except with --warm or --store.
    """
    if out is not None:
        check_folder(out)
    recorded = [_load(path, model) for path in traces]
    curves = load_curves(cost, recorded[0].cost)
    rounds = visits_of(recorded, visits)
    earlier = _same_model(warm, recorded[0], traces[0])
    learned = [] if store is None else load_learned(store, recorded[0].conditions["fingerprint"])
    kind = PaperDrafter if search == "puct" else AdaptiveDrafter

    def ours(curve: Curve) -> Replay:
        drafter = kind(max_leaves=leaves or leaves_for(curve), **drafting)
        for part in learned:
            drafter.absorb(part)
        drafter.calibration.doubt()
        return Replay(drafter, curve, fixed=search == "puct", overhead=overhead)

    to = console()
    to.print(*map(_conditions, recorded), sep="\n", soft_wrap=True)
    to.print(f"cost {cost}, {search}, overhead {overhead:.0%} of a plain evaluation")
    answers = sum(len(t.turns) for group in rounds.values() for t in [*earlier, *group])
    with tqdm(total=answers * (len(curves) + len(POLICIES) - 1), unit="answer") as bar:
        rows = compare(rounds, curves, ours, earlier, bar.update)
    if len(curves) == 1:
        for row in rows:
            to.print(*_details(row))
    to.print(_comparison(rows))
    for remark in _remarks(rows, recorded):
        to.print(remark, soft_wrap=True)
    if out is not None:
        options = {"search": search, "leaves": leaves, "overhead": overhead, **drafting}
        save_result(_result(recorded, rows, options), out)
        to.print(f"written to {out}")


def _load(path: Path, model: str) -> Trace:
    if path.suffix == ".jsonl":
        return read_transcript(path, resolve(model))
    return Trace.load(path)


def _same_model(warm: Sequence[Path], recorded: Trace, path: Path) -> list[Trace]:
    traces = [Trace.load(other) for other in warm]
    for other, trace in zip(warm, traces, strict=True):
        if trace.conditions["fingerprint"] != recorded.conditions["fingerprint"]:
            raise BenchError(f"{other} was recorded with another model than {path}")
    return traces


def _conditions(recorded: Trace) -> str:
    about = recorded.conditions
    if recorded.cost is None:
        return (
            f"{about['prompts']}, {len(recorded.turns)} answers in the tokens of {about['model']}"
        )
    return (
        f"{about['model']}, {about['prompts']}, {len(recorded.turns)} answers of up to "
        f"{about['max_tokens']} tokens, temperature {about['temperature']}, seed {about['seed']}"
    )


def _result(recorded: list[Trace], rows: list[Row], options: dict[str, Any]) -> dict[str, Any]:
    return {
        "traces": [trace.conditions for trace in recorded],
        "options": options,
        "machines": {row.curve.name: asdict(row.curve) for row in rows},
        "visits": [
            {
                "temperature": row.temperature,
                "visit": row.visit,
                "machine": row.curve.name,
                "speedups": row.speeds,
                "categories": {name: tally.row() for name, tally in row.tallies.items()},
            }
            for row in rows
        ],
    }


def _title(row: Row) -> str:
    return f"{_greedy(row.temperature)}, visit {row.visit}"


def _greedy(temperature: float) -> str:
    return f"temperature {temperature:g}" if temperature else "greedy"


def _comparison(rows: list[Row]) -> Table:
    """One table of all machines, with the speed of each drafter over plain decoding."""
    table = Table(
        title="times as fast as plain decoding",
        title_justify="left",
        box=SIMPLE,
        show_edge=False,
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column("machine", no_wrap=True)
    for policy in POLICIES:
        table.add_column(policy.replace("-", "\n"), justify="right")
    title = None
    for row in sorted(rows, key=lambda row: (row.temperature, row.visit)):
        if _title(row) != title:
            title = _title(row)
            table.add_section()
            table.add_row(title)
        table.add_row(row.curve.name, *(f"{row.speeds[policy]:.2f}" for policy in POLICIES))
    return table


def _remarks(rows: list[Row], recorded: list[Trace]) -> Iterator[str]:
    for row in rows:
        for peer in row.behind():
            yield (
                f"{row.curve.name}, {_title(row)}: {peer} is ahead of {AUTO}, "
                f"{row.speeds[peer]:.2f} against {row.speeds[AUTO]:.2f}"
            )
    for trace in recorded:
        if trace.cost is None:
            yield (
                f"{trace.conditions['prompts']} is a transcript: it has no probabilities, so there "
                "are no figures at temperature 0.8"
            )


def _details(row: Row) -> Iterator[Table]:
    rows = {name: tally.row() for name, tally in row.tallies.items()}
    deepest = max(len(figures["accepted_by_depth"]) for figures in rows.values())
    depths = [depth for depth in _DEPTHS if depth <= deepest]
    table = _empty(_title(row), "tokens", "MAT", "speedup", "oracle", "share", "wasted")
    accepted = _empty("accepted by depth", *map(str, depths))
    for name, figures in rows.items():
        table.add_row(
            name,
            str(figures["tokens"]),
            f"{figures['mat']:.2f}",
            f"{figures['speedup']:.2f}",
            f"{figures['oracle_speedup']:.2f}",
            f"{figures['oracle_share']:.0%}",
            f"{figures['wasted']} of {figures['drafted']}",
        )
        shares = dict(enumerate(figures["accepted_by_depth"], 1))
        accepted.add_row(name, *(f"{shares.get(depth, 0.0):.0%}" for depth in depths))
    yield from (table, accepted)


def _empty(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE)
    table.add_column("category")
    for column in columns:
        table.add_column(column, justify="right")
    return table
