"""`doctor`: measure what a model costs on this machine, and print it.

Knows tables and bars, and where the costs are stored. Does not know how figures are computed.
"""

from __future__ import annotations

import dataclasses
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from aded_edge.bench.doctor import advice as conclusions
from aded_edge.bench.doctor.examine import TRIED, Findings, examine
from aded_edge.bench.results import check_folder, save_result
from aded_edge.llamacpp.fingerprint import cost_key
from aded_edge.models.resolve import resolve
from aded_edge.store import Store

from .options import MODEL, RPC, STORE_OR_NONE, Command, FilePath, how_it_runs
from .output import console, progress_log

BAR = 32
"""Columns of the longest bar."""

_IMPLIED = frozenset(("SSE3", "SSSE3", "AVX", "F16C", "FMA", "BMI2"))
"""Features that every CPU with AVX2 has; they are not printed beside it."""


@click.command(cls=Command)
@MODEL
@STORE_OR_NONE
@how_it_runs
@RPC
@click.option("--json", "out", type=FilePath, help="Write the findings here.")
def doctor(model: str, store: Path | None, out: Path | None, **running: Any) -> None:
    """Measure what a model costs on this machine, and what drafting can bring there.

    The costs are stored for later runs with the same settings, and replace earlier ones.
    """
    if out is not None:
        check_folder(out)
    with progress_log(), closing(_Progress()) as progress:
        findings = examine(resolve(model), progress=progress, **running)
    to = console()
    show(findings, to)
    if out is not None:
        save_result(as_dict(findings), out)
        to.print(f"Written to {out}.")
    if store is not None:
        to.print(_keep(findings, store))


class _Progress:
    """A progress bar that appears with the first step."""

    def __init__(self) -> None:
        self._bar: tqdm | None = None

    def __call__(self, done: int, planned: int) -> None:
        if self._bar is None:
            self._bar = tqdm(total=planned, desc="numbers of threads", leave=False, disable=None)
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()


def as_dict(findings: Findings) -> dict[str, Any]:
    """Return the findings and the conclusions from them, ready for JSON."""
    costs = findings.costs
    best = {p: conclusions.best_width(costs, p) for p in conclusions.ACCEPTANCES}
    return {
        **dataclasses.asdict(findings),
        "spread": findings.spread,
        "busy": findings.busy,
        "batched": findings.batched,
        "break_even": {w: conclusions.break_even(costs, w) for w in costs if w > 1},
        "best_width": {p: {"width": w, "speed": speed} for p, (w, speed) in best.items()},
        "oracle": {n: conclusions.oracle_speed(costs, n) for n in conclusions.ANSWERS},
        "proved": findings.proved,
        "exactness": conclusions.exactness(findings),
        "advice": conclusions.advice(findings),
    }


def show(findings: Findings, to: Console) -> None:
    """Print the findings and the conclusions from them."""
    costs = findings.costs
    to.print(_grid(_about(findings)))
    to.print("\nCost of an evaluation by width (one token and the draft tokens after it)")
    to.print(_curve(findings, to.options.ascii_only))
    to.print("cost: in plain evaluations. pays from: least share of draft tokens that are right.")
    to.print("\nThe best width and its speed over plain decoding, by that share")
    to.print(_pays(costs))
    speeds = [f"{conclusions.oracle_speed(costs, n):.2f}x for {n}" for n in conclusions.ANSWERS]
    to.print(f"Upper bound for any drafter: {', '.join(speeds)} tokens.")
    to.print("\nMilliseconds by number of threads (* is the number used here)")
    to.print(_threads(findings))
    to.print("\nLogits against plain decoding: = all bits are equal, else the largest difference")
    to.print(_proof(findings))
    to.print(conclusions.exactness(findings))
    advice = conclusions.advice(findings)
    if advice:
        to.print(_grid([("advice", text) for text in advice]))


def _grid(rows: list[tuple[str, str]]) -> Table:
    grid = Table.grid(padding=(0, 2))
    for row in rows:
        grid.add_row(*row)
    return grid


def _about(f: Findings) -> list[tuple[str, str]]:
    cpu = f.features.get("CPU", [])
    shown = [name for name in cpu if "AVX2" not in cpu or name not in _IMPLIED]
    workers = ", ".join(f.conditions.get("rpc_servers", ()))
    return [
        (
            "model",
            f"{f.name} ({f.description}), {f.bytes / 1e6:.0f} MB, {f.batched:.0%} of it stored for "
            "batch kernels",
        ),
        ("build", f.build),
        ("cpu", f"{f.cpu}: {', '.join(shown)}"),
        ("gpu", _gpu(f)),
        *([("workers", workers)] if workers else []),
        (
            "runs with",
            f"{f.threads} threads, {f.gpu_layers} GPU layers, n_ctx {f.n_ctx}, flash attention "
            f"{'on' if f.flash_attn else 'off'}; others used {f.others:.1f} of {f.cores} cores",
        ),
    ]


def _gpu(f: Findings) -> str:
    if f.devices:
        return ", ".join(f.devices)
    if f.found:
        return f"not used: no layers were put on {', '.join(f.found)}"
    if f.built_for:
        kinds = ", ".join(f.built_for)
        return f"not used: this llama.cpp was built for {kinds}, and finds no device"
    return "not used: this llama.cpp was built without GPU support"


def _curve(f: Findings, ascii_only: bool) -> Table:
    table = Table()
    for name in ("width", "ms", "cost", "pays from"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    most = max(f.ratios.values())
    for width, ratio in f.ratios.items():
        least = conclusions.break_even(f.costs, width) if width > 1 else None
        pays = "" if width == 1 else "never" if least is None else f"{least:.0%}"
        bar = _bar(ratio / most, ascii_only)
        table.add_row(str(width), f"{f.costs[width] * 1e3:.1f}", f"{ratio:.2f}", pays, bar)
    return table


def _bar(share: float, ascii_only: bool) -> str:
    if ascii_only:
        return "#" * max(round(share * BAR), 1)
    eighths = max(round(share * BAR * 8), 1)
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()


def _pays(costs: dict[int, float]) -> Table:
    table = Table()
    table.add_column("right")
    for acceptance in conclusions.ACCEPTANCES:
        table.add_column(f"{acceptance:.0%}", justify="right")
    best = [conclusions.best_width(costs, acceptance) for acceptance in conclusions.ACCEPTANCES]
    table.add_row("width", *(str(width) for width, _ in best))
    table.add_row("speed", *(f"{speed:.2f}x" for _, speed in best))
    return table


def _threads(f: Findings) -> Table:
    table = Table()
    table.add_column("threads", justify="right")
    for width in TRIED:
        table.add_column(f"width {width}", justify="right")
    for count, of in f.times.items():
        mark = " *" if count == f.threads else "  "
        medians = (f"{median(of[width]) * 1e3:.1f}" for width in TRIED)
        table.add_row(f"{count}{mark}", *medians)
    return table


def _proof(f: Findings) -> Table:
    table = Table()
    table.add_column("width", justify="right")
    for length in f.proof:
        table.add_column(f"{length} before", justify="right")
    for width in sorted({width for found in f.proof.values() for width in found}):
        found = [of.get(width) for of in f.proof.values()]
        cells = ("" if d is None else "=" if d == 0.0 else f"{d:.1g}" for d in found)
        table.add_row(str(width), *cells)
    return table


def _keep(findings: Findings, path: Path) -> str:
    if findings.busy:
        return f"Costs not kept in {path}: the machine was busy."
    with Store.open(path) as store:
        if store.read_only:
            return f"Costs not kept: {path} is read-only."
        store.save_costs(findings.key, findings.costs, findings.conditions)
        bits = findings.bit_conditions
        store.save_proof(cost_key(bits), findings.proof, bits)
    return f"Costs and proof are kept in {path}, for runs with these settings."
