"""Runs a benchmark from the command line and prints what it found.

Knows tables and progress. Does not know how figures are made.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from ..errors import BenchError, ModelError
from . import picture, speed
from .decoders import AUTO, LOCAL, PLAIN, Settings
from .prompts import Dialog, load_dialogs
from .server import SERVERS
from .summary import ALL, conditions


def bench(
    model: Path,
    prompts: Path,
    limit: int | None,
    out: Path | None,
    png: Path | None = None,
    *,
    decoders: str | None,
    threads: int | None,
    ctx: int,
    llama_server: Path | None,
    **options: Any,
) -> None:
    """Measures, prints tables, writes JSON after each dialog and a picture at the end.

    Raises:
        BenchError: a decoder, the prompts, a file or a server cannot be used.
        ModelError: the model is missing, or cannot be loaded.
    """
    names = _decoders(decoders, llama_server)
    if not model.is_file():
        raise ModelError(f"Model path does not exist: {model}")
    if png is not None:
        picture.check(png)
    settings = Settings(
        model=str(model),
        prompts=str(prompts),
        decoders=names,
        threads=threads or os.cpu_count() or 1,
        n_ctx=ctx,
        llama_server=str(llama_server) if llama_server is not None else None,
        **options,
    )
    dialogs = load_dialogs(prompts, limit)

    def keep(result: dict[str, Any]) -> None:
        if out is not None:
            speed.save(result, out)

    with _ends_in_order(), tqdm(total=_planned(settings, dialogs), unit="answer") as bar:
        result = speed.run(settings, dialogs, lambda answers: bar.update(answers) and None, keep)
    console = Console(highlight=False, markup=False)
    show(result, console)
    if out is not None:
        console.print(f"Written to {out}.")
    if png is not None:
        picture.draw([result], png)
        console.print(f"Drawn to {png}.")


def _decoders(asked: str | None, llama_server: Path | None) -> tuple[str, ...]:
    if asked is None:
        known = (name for name in LOCAL if name != "off")
        return (*known, *(SERVERS if llama_server is not None else ()))
    names = dict.fromkeys(name.strip() for name in asked.split(",") if name.strip())
    for name in names:
        if name not in speed.DECODERS:
            raise BenchError(f"no decoder {name!r}; known: {', '.join(speed.DECODERS)}")
        if name in SERVERS and llama_server is None:
            raise BenchError(f"the decoder {name!r} needs --llama-server, the path of its binary")
    return tuple({PLAIN: None, **names})


def _planned(settings: Settings, dialogs: list[Dialog]) -> int:
    answers = (
        len(dialog.turns) * len(speed.taking_part(settings, place))
        for place, dialog in enumerate(dialogs)
    )
    return settings.visits * sum(answers)


@contextmanager
def _ends_in_order() -> Iterator[None]:
    """A run that is told to end stops its servers and removes its gigabytes of KV first."""

    def end(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    numbers = [signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
    before = [signal.signal(number, end) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def show(result: dict[str, Any], console: Console) -> None:
    """Prints conditions and tables."""
    console.print(conditions(result))
    for visit, store in result["stores"].items():
        rows = [row for row in result["summary"] if f"visit {row['visit']}" == visit]
        console.print(f"\n{visit}, {store} store")
        console.print(_table(rows))
        costs = {int(width): cost for width, cost in result["cost_curves"][visit].items()}
        if costs:
            curve = ", ".join(f"{w}: {c / costs[1]:.1f}" for w, c in costs.items() if w > 1)
            console.print(f"An evaluation takes {costs[1] * 1000:.1f} ms; by width {curve} times.")
        for row in rows:
            if row["category"] == ALL and row["decoder"] == AUTO:
                console.print(_about_auto(row))


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table(box=None, padding=(0, 1), pad_edge=False, collapse_padding=True)
    for name in ("category", "decoder"):
        table.add_column(name, no_wrap=True)
    for name in ("tokens/s", "ratio", "quartiles", "MAT", "same", "oracle"):
        table.add_column(name, justify="right", no_wrap=True)
    before = ""
    for row in rows:
        low, high = row["speedup_quartiles"]
        table.add_row(
            row["category"] if row["category"] != before else "",
            row["decoder"],
            f"{row['speed']:.1f}",
            f"{row['speedup']:.2f}",
            f"{low:.2f} {row['speedup_median']:.2f} {high:.2f}",
            f"{row['mat']:.2f}",
            f"{row['identical']:.0%}",
            f"{row['oracle_share']:.0%}" if "oracle_share" in row else "",
        )
        before = row["category"]
    return table


def _about_auto(row: dict[str, Any]) -> str:
    text = ""
    if "oracle_speedup" in row:
        text += (
            f"The oracle would reach {row['oracle_speedup']:.2f} times plain decoding; "
            f"auto has {row['oracle_share']:.0%} of its speed. "
        )
    if "overhead" in row:
        shares = ", ".join(f"{part} {share:.1%}" for part, share in row["shares"].items())
        text += f"Overhead {row['overhead']:.1%} of auto's time: {shares}."
    return text
