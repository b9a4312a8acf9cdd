"""`bench weeks`: replay recorded sessions with three stores, week by week; a table and JSON.

Knows options and tables. Does not know how figures are computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click
from rich.table import Table
from tqdm import tqdm

from aded_edge.bench.quarter.figures import MONTH
from aded_edge.bench.replay.curves import Curve, load_curves
from aded_edge.bench.replay.run import Tally, leaves_for
from aded_edge.bench.replay.trace import Trace
from aded_edge.bench.replay.weeks import (
    EMPTY,
    KEPT,
    STORES,
    Read,
    Week,
    check_sessions,
    read_by_week,
    replay_weeks,
)
from aded_edge.bench.results import check_folder, save_result
from aded_edge.draft.drafter import AdaptiveDrafter
from aded_edge.errors import BenchError

from ..options import Command, FilePath
from ..output import console, plain_table


@click.command(cls=Command)
@click.argument("trace", type=FilePath)
@click.argument("other", type=FilePath)
@click.option(
    "--cost",
    default="machines",
    show_default=True,
    help="As in bench replay: machines, the name of one, measured, laptop, gpu, or a JSON file.",
)
@click.option("--json", "out", type=FilePath, help="Write the result here.")
def weeks(trace: Path, other: Path, cost: str, out: Path | None) -> None:
    """Replay recorded sessions with a kept store, an empty one and another user's.

    Both traces are made by bench record, with --prompts quarter and --prompts other.
    """
    if out is not None:
        check_folder(out)
    mine, theirs = (Trace.load(path) for path in (trace, other))
    for recorded in (mine, theirs):
        check_sessions(recorded)
    if mine.conditions["fingerprint"] != theirs.conditions["fingerprint"]:
        raise BenchError(f"{other} was recorded with another model than {trace}")
    curves = load_curves(cost, mine.cost)
    with tqdm(total=len(mine.turns) * len(curves), unit="answer") as bar:
        found = list(replay_weeks(mine, theirs, curves, _drafter, bar.update))
    read = read_by_week(mine)
    to = console()
    to.print(_speeds(found, curves))
    to.print()
    to.print(_read(read))
    if out is not None:
        save_result(
            {
                "traces": [recorded.conditions for recorded in (mine, theirs)],
                "machines": {curve.name: asdict(curve) for curve in curves},
                "weeks": [
                    {"machine": w.machine, "store": w.store, "week": w.week, **w.tally.row()}
                    for w in found
                ],
                "read": [asdict(row) for row in read],
            },
            out,
        )
        to.print(f"written to {out}")


def _drafter(curve: Curve) -> AdaptiveDrafter:
    return AdaptiveDrafter(max_leaves=leaves_for(curve))


def _speeds(found: Sequence[Week], curves: Sequence[Curve]) -> Table:
    """Generation in the last month, times as fast as plain decoding, and kept over empty."""
    last = max(row.week for row in found) - MONTH
    names = (*STORES, "kept/empty", "at first")
    table = plain_table("machine", *names, right=names)
    table.columns[0].no_wrap = True
    table.title = (
        f"generation in the last {MONTH} weeks, times as fast as plain decoding; at first: "
        f"kept/empty in the first {MONTH} weeks"
    )
    table.title_justify = "left"
    for curve in curves:
        rows = [row for row in found if row.machine == curve.name]
        late = {store: _sum(rows, store, range(last + 1, 1 << 16)) for store in STORES}
        early = {store: _sum(rows, store, range(MONTH + 1)) for store in (KEPT, EMPTY)}
        gains = [tallies[KEPT].speedup / tallies[EMPTY].speedup for tallies in (late, early)]
        speeds = (f"{late[store].speedup:.2f}" for store in STORES)
        table.add_row(curve.name, *speeds, *(f"{gain:.2f}x" for gain in gains))
    return table


def _sum(rows: Sequence[Week], store: str, within: range) -> Tally:
    tally = Tally()
    for row in rows:
        if row.store == store and row.week in within:
            tally.add(row.tally)
    return tally


def _read(read: Sequence[Read]) -> Table:
    names = ("prompt tokens", "read, empty store", "read, kept store")
    table = plain_table("week", *names, right=("week", *names))
    for row in read:
        table.add_row(*map(str, (row.week, row.tokens, row.empty, row.kept)))
    return table
