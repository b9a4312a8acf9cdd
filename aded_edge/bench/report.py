"""Runs a benchmark from the command line and prints what it found.

Knows tables and progress. Does not know how figures are made.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from ..errors import BenchError, ModelError
from . import speed
from .prompts import load_dialogs


def bench(
    model: Path,
    prompts: Path,
    limit: int | None,
    out: Path | None,
    *,
    decoders: str,
    threads: int | None,
    ctx: int,
    **options: Any,
) -> None:
    """Measures, prints tables, writes JSON."""
    names = tuple(name.strip() for name in decoders.split(",") if name.strip())
    unknown = [name for name in names if name not in speed.DECODERS]
    if unknown:
        raise BenchError(f"no decoder {unknown[0]!r}; known: {', '.join(speed.DECODERS)}")
    if not model.is_file():
        raise ModelError(f"Model path does not exist: {model}")
    settings = speed.Settings(
        model=str(model),
        prompts=str(prompts),
        decoders=(speed.PLAIN, *(name for name in names if name != speed.PLAIN)),
        threads=threads or os.cpu_count() or 1,
        n_ctx=ctx,
        **options,
    )
    dialogs = load_dialogs(prompts, limit)
    with tqdm(total=len(dialogs) * settings.visits, unit="dialog") as bar:
        result = speed.run(settings, dialogs, lambda: bar.update() and None)
    _print(result)
    if out is not None:
        speed.save(result, out)
        Console().print(f"written to {out}")


def _print(result: dict[str, Any]) -> None:
    console = Console()
    settings, where = result["settings"], result["conditions"]
    console.print(
        f"{where['model']}, {result['dialogs']} dialogs, {settings['max_tokens']} tokens "
        f"({result['turns_left_out']} turns too long for the context left out), "
        f"temperature {settings['temperature']}, {settings['threads']} threads, "
        f"n_ctx {settings['n_ctx']}, llama-cpp-python {where['llama_cpp_python']}, "
        f"{where['machine']}"
    )
    for visit in range(1, settings["visits"] + 1):
        store = "empty store" if visit == 1 else f"store as visit {visit - 1} left it"
        table = Table(title=f"visit {visit}, {store}", title_justify="left")
        table.add_column("category")
        table.add_column("decoder")
        for name in ("tokens/s", "speedup", "median", "MAT", "identical"):
            table.add_column(name, justify="right")
        for row in result["summary"]:
            if row["visit"] == visit:
                table.add_row(
                    row["category"],
                    row["decoder"],
                    f"{row['speed']:.1f}",
                    f"{row['speedup']:.2f}",
                    f"{row['speedup_median']:.2f}",
                    f"{row['mat']:.2f}",
                    f"{row['identical']:.0%}",
                )
        console.print(table)
