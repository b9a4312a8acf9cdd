"""`bench replay`: try drafting on a trace; print tables and write JSON.

Knows tables. Does not know how figures are computed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
from rich.box import SIMPLE
from rich.table import Table

from aded_edge.bench.replay.run import Replay, Tally, load_costs
from aded_edge.bench.replay.trace import Trace
from aded_edge.bench.results import check_folder, save_result
from aded_edge.draft.drafter import AdaptiveDrafter, PaperDrafter
from aded_edge.errors import BenchError
from aded_edge.runtime.persistence import load_learned

from ..options import Command, FilePath, FiniteRange, StorePath
from ..output import console

_CPU_LEAVES, _GPU_LEAVES = 1, 16
"""Defaults of --leaves, those of `Llama`: chains where another row costs much, trees where it costs
next to nothing."""

_FLAT_SLOPE = 0.05
"""Costs are flat if a further row adds less than this share of width 1, on average."""

_DEPTHS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48)
"""Depths that are printed; the JSON has all of them."""


class _Replay(Command):
    """Ignores the config file: a store in it must not warm a visit that should be cold."""

    from_config = frozenset()


@click.command(cls=_Replay)
@click.argument("trace", type=FilePath)
@click.option(
    "--cost", default="measured", show_default=True, help="measured, laptop, gpu, or a JSON file."
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
    trace: Path,
    *,
    cost: str,
    visits: int,
    warm: tuple[Path, ...],
    overhead: float,
    out: Path | None,
    **drafting: Any,
) -> None:
    """Try drafting on a trace, without the model.

    The first visit starts with an empty matrix, except with --warm or --store.
    """
    if out is not None:
        check_folder(out)
    recorded = Trace.load(trace)
    costs = load_costs(cost, recorded)
    search, leaves = drafting.pop("search"), drafting.pop("leaves")
    if leaves is None:
        leaves = _GPU_LEAVES if _is_flat(costs) else _CPU_LEAVES
    store: Path | None = drafting.pop("store")
    kind = PaperDrafter if search == "puct" else AdaptiveDrafter
    drafter = kind(max_leaves=leaves, **drafting)
    if store is not None:
        for part in load_learned(store, recorded.conditions["fingerprint"]):
            drafter.absorb(part)
        drafter.calibration.doubt()
    run = Replay(drafter, costs, fixed=search == "puct", overhead=overhead)
    _warm_up(run, warm, recorded, trace)
    to = console()
    to.print(_conditions(recorded, cost, search, leaves, overhead))
    found = []
    for visit in range(1, visits + 1):
        tallies = run.visit(recorded.turns)
        to.print(*_tables(visit, tallies))
        found.append({category: tally.row() for category, tally in tallies.items()})
    if out is not None:
        about = recorded.conditions
        result = {"trace": about, "cost": cost, "costs": costs, "leaves": leaves, "visits": found}
        result |= {"search": search, "overhead": overhead, "options": drafting}
        save_result(result, out)
        to.print(f"written to {out}")


def _warm_up(run: Replay, warm: Sequence[Path], recorded: Trace, path: Path) -> None:
    for other in warm:
        earlier = Trace.load(other)
        if earlier.conditions["fingerprint"] != recorded.conditions["fingerprint"]:
            raise BenchError(f"{other} was recorded with another model than {path}")
        run.visit(earlier.turns)


def _conditions(recorded: Trace, cost: str, search: str, leaves: int, overhead: float) -> str:
    about = recorded.conditions
    return (
        f"{about['model']}, {about['prompts']}, {len(recorded.turns)} answers of up to "
        f"{about['max_tokens']} tokens, temperature {about['temperature']}, seed {about['seed']}; "
        f"cost {cost}, {search}, {leaves} {'leaf' if leaves == 1 else 'leaves'}, "
        f"overhead {overhead:.0%} of a plain evaluation"
    )


def _is_flat(costs: dict[int, float]) -> bool:
    widest = max(costs)
    return costs[widest] / costs[1] < 1 + _FLAT_SLOPE * (widest - 1)


def _tables(visit: int, tallies: dict[str, Tally]) -> Iterator[Table]:
    rows = {name: tally.row() for name, tally in tallies.items()}
    deepest = max(len(row["accepted_by_depth"]) for row in rows.values())
    depths = [depth for depth in _DEPTHS if depth <= deepest]
    figures = _empty(f"visit {visit}", "tokens", "MAT", "speedup", "oracle", "share", "wasted")
    accepted = _empty("accepted by depth", *map(str, depths))
    for name, row in rows.items():
        figures.add_row(
            name,
            str(row["tokens"]),
            f"{row['mat']:.2f}",
            f"{row['speedup']:.2f}",
            f"{row['oracle_speedup']:.2f}",
            f"{row['oracle_share']:.0%}",
            f"{row['wasted']} of {row['drafted']}",
        )
        shares = dict(enumerate(row["accepted_by_depth"], 1))
        accepted.add_row(name, *(f"{shares.get(depth, 0.0):.0%}" for depth in depths))
    yield from (figures, accepted)


def _empty(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE)
    table.add_column("category")
    for column in columns:
        table.add_column(column, justify="right")
    return table
