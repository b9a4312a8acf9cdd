"""Runs a replay from the command line and prints what it found.

Knows tables. Does not know how figures are made.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from ..draft.drafter import AdaptiveDrafter, PaperDrafter
from ..errors import BenchError
from ..memory import stored
from .replay import Replay, Tally, load_costs
from .trace import Trace

_CPU_LEAVES, _GPU_LEAVES = 1, 16
"""What `Llama` uses: chains where a row costs much, trees where it costs next to nothing."""

_DEPTHS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48)
"""Depths that are printed; the JSON holds all."""


def replay(
    path: Path,
    *,
    cost: str,
    visits: int,
    search: str,
    leaves: int | None,
    warm: tuple[Path, ...],
    store: Path | None,
    overhead: float,
    out: Path | None,
    **options: Any,
) -> None:
    """Replays a trace, prints a table for each visit, writes JSON.

    Args:
        path: the trace.
        cost: see `replay.load_costs`.
        visits: how often the trace is replayed; the drafter keeps what it learned.
        search: "best-first" or "puct".
        leaves: branches of a draft; None for what `Llama` uses.
        warm: traces that are replayed first, without being counted.
        store: a matrix store to start from.
        overhead: see `Replay`.
        out: JSON is written here.
        options: for `AdaptiveDrafter`.

    Raises:
        BenchError: a trace or the costs cannot be read, or the JSON cannot be written.
        StoreError: the store cannot be read.
    """
    trace = Trace.load(path)
    costs = load_costs(cost, trace)
    if leaves is None:
        leaves = _GPU_LEAVES if _is_flat(costs) else _CPU_LEAVES
    kind = PaperDrafter if search == "puct" else AdaptiveDrafter
    drafter = kind(max_leaves=leaves, **options)
    if store is not None:
        for part in stored(store, trace.conditions["fingerprint"]):
            drafter.absorb(part)
    run = Replay(drafter, costs, fixed=search == "puct", overhead=overhead)
    for other in warm:
        earlier = Trace.load(other)
        if earlier.conditions["fingerprint"] != trace.conditions["fingerprint"]:
            raise BenchError(f"{other} is the trace of another model than {path}")
        run.visit(earlier.turns)
    console = Console()
    about = trace.conditions
    console.print(
        f"{about['model']}, {about['prompts']}, {len(trace.turns)} answers of up to "
        f"{about['max_tokens']} tokens, temperature {about['temperature']}, seed {about['seed']}; "
        f"cost {cost}, {search}, {leaves} {'leaf' if leaves == 1 else 'leaves'}, "
        f"overhead {overhead:.0%} of a plain evaluation"
    )
    found = []
    for visit in range(1, visits + 1):
        tallies = run.visit(trace.turns)
        console.print(*_tables(visit, tallies))
        found.append({category: tally.row() for category, tally in tallies.items()})
    if out is not None:
        result = {"trace": about, "cost": cost, "costs": costs, "leaves": leaves, "visits": found}
        _save({**result, "search": search, "overhead": overhead, "options": options}, out)
        console.print(f"written to {out}")


def _is_flat(costs: dict[int, float]) -> bool:
    widest = max(costs)
    return costs[widest] / costs[1] < 1 + 0.05 * (widest - 1)


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


def _save(result: dict[str, Any], path: Path) -> None:
    try:
        path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise BenchError(f"cannot write {path}: {error.strerror}") from error
