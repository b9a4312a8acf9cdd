"""Figures of the matrix store: `python tests/store/bench_store.py [folder]`. Not a test.

One model: a snapshot of 400k contexts with about 6 successors each and a log of a million tokens,
and 64 parts of 500 tokens each, as turns leave them behind.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from aded_edge.store import ModelParts, Part, Store


def learned(contexts: int, successors: int, tokens: int, seed: int) -> Part:
    """Random content of the given size; `successors` is the mean per context."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 2 * successors, contexts)
    offsets = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
    m = int(offsets[-1])
    return Part(
        contexts=rng.permutation(np.arange(contexts, dtype=np.int64) * 7919 + seed),
        totals=rng.random(contexts, np.float32),
        stamps=rng.integers(0, 1000, contexts, np.int32),
        offsets=offsets,
        successors=rng.integers(0, 150_000, m, np.int32),
        weights=rng.random(m, np.float32),
        tokens=rng.integers(-1, 150_000, tokens, np.int32),
        trials=rng.random(192, np.float32),
        accepted=rng.random(192, np.float32),
    )


def _report(what: str, seconds: list[float]) -> None:
    milliseconds = [1000 * s for s in seconds]
    print(
        f"{what:24} median {statistics.median(milliseconds):7.1f} ms"
        f"   max {max(milliseconds):7.1f} ms   of {len(milliseconds)}"
    )


def _sizes(path: Path) -> str:
    wal = path.with_name(path.name + "-wal")
    log = wal.stat().st_size if wal.exists() else 0
    return f"file {path.stat().st_size / 1e6:.1f} MB, log {log / 1e6:.1f} MB"


def _add_turns(model: ModelParts) -> list[float]:
    seconds = []
    for seed in range(64):
        turn = learned(1500, 8, 500, seed)
        start = time.perf_counter()
        model.add(turn)
        seconds.append(time.perf_counter() - start)
    return seconds


def main(folder: Path) -> None:
    """Print times and sizes over some cycles of appending, loading and replacing."""
    path = folder / "bench.db"
    snapshot = learned(400_000, 6, 1_000_000, 99)
    for cycle in range(4):
        with Store.open(path) as store:
            model = store.model("bench", "bench")
            if cycle == 0:
                model.replace([], snapshot)
            _report("add a turn", _add_turns(model))
            print(f"{'':24} {_sizes(path)}")
        start = time.perf_counter()
        with Store.open(path) as store:
            _report("open", [time.perf_counter() - start])
            model = store.model("bench", "bench")
            start = time.perf_counter()
            parts, ids = model.load()
            _report(f"load {len(parts)} parts", [time.perf_counter() - start])
            start = time.perf_counter()
            model.replace(ids, snapshot)
            _report("replace", [time.perf_counter() - start])
            print(f"{'':24} {_sizes(path)}")
        print(f"{'closed':24} {_sizes(path)}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as name:
        main(Path(name))
