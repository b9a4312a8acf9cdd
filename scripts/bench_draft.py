#!/usr/bin/env python3
"""Measures drafting and learning without a model: .venv/bin/python scripts/bench_draft.py

The texts are artificial: 500 tokens each, from a random Markov chain of order 2 over 32,000 tokens.
Each pair of tokens has its own ranking of successors, drawn by Zipf's law. The rank of the next
token follows Zipf's law with exponent 1.6, so the first successor is taken 44 % of the time. Every
tenth token is drawn by Zipf's law from the whole vocabulary. So frequent pairs have many
successors, most pairs are rare, and about half of all pairs occur for the first time.

Times are wall clock on one thread, with compiled kernels and with caches warm from the call before.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from aded_edge.arrays import Int32Array
from aded_edge.draft.best_first import best_first
from aded_edge.draft.drafter import AdaptiveDrafter, Step
from aded_edge.draft.matrix import SLOTS, TrigramMatrix, find
from aded_edge.draft.puct import puct

VOCABULARY = 32_000
LENGTH = 500
RANKS = 200
NOVELTY = 0.1
NODES = 32
ROUNDS = 400


class Figure(NamedTuple):
    """One line of the result; the figure should stay below `target`."""

    name: str
    value: float
    unit: str
    target: float | None
    spread: str

    def __str__(self) -> str:
        """Return the line as it is printed."""
        line = f"{self.name:42} {self.value:9.3f} {self.unit:3}"
        if self.target is not None:
            met = "met" if self.value < self.target else "MISSED"
            line += f"  target {self.target:g} {self.unit}: {met}"
        return f"{line:82} {self.spread}".rstrip()


def zipf(n: int, exponent: float) -> npt.NDArray[np.float64]:
    """Return the cumulative probabilities of the ranks 0 .. n - 1 by Zipf's law."""
    weights = np.arange(1, n + 1) ** -exponent
    return np.cumsum(weights / weights.sum())


def make_texts(count: int, seed: int) -> Int32Array:
    """Make texts as described above, int32 (count, LENGTH); the chain is the same for all seeds."""
    rng = np.random.default_rng(seed)
    words, ranks = zipf(VOCABULARY, 1.0), zipf(RANKS, 1.6)
    texts = np.empty((count, LENGTH), np.int32)
    texts[:, :2] = np.searchsorted(words, rng.random((count, 2)))
    for i in range(2, LENGTH):
        pair = texts[:, i - 2].astype(np.uint64) * np.uint64(VOCABULARY)
        pair = (pair + texts[:, i - 1].astype(np.uint64)) * np.uint64(RANKS)
        rank = np.searchsorted(ranks, rng.random(count)).astype(np.uint64)
        own = uniform(pair + rank)
        chance = rng.random(count)
        place = np.where(rng.random(count) < NOVELTY, chance, own)
        texts[:, i] = np.minimum(np.searchsorted(words, place), VOCABULARY - 1)
    return texts


def uniform(keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.float64]:
    """Hash each key to a number in [0, 1) (splitmix64)."""
    h = keys + np.uint64(0x9E3779B97F4A7C15)
    h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray((h ^ (h >> np.uint64(31))) >> np.uint64(11), np.float64) * 2.0**-53


def _look_up(table: Any, keys: Any) -> int:
    # Finds and reads the likeliest successor of each context.
    total = 0
    for key in keys:
        row = find(table, key)
        best = 0
        for i in range(1, SLOTS):
            if table.weights[row, i] > table.weights[row, best]:
                best = i
        total += table.tokens[row, best]
    return total


def seconds_of(work: Callable[[], object]) -> float:
    """Return the wall clock seconds of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def timed(
    name: str, calls: Iterable[Callable[[], object]], unit: str, target: float | None
) -> Figure:
    """Return the median over many calls, without the first ones, which may compile."""
    times = [seconds_of(call) for call in calls][5:]
    scaled = [t * {"s": 1.0, "ms": 1e3, "µs": 1e6}[unit] for t in times]
    worst = f"95 % below {np.quantile(scaled, 0.95):.3f}, worst {max(scaled):.3f} {unit}"
    return Figure(name, statistics.median(scaled), unit, target, f"{worst}, {len(times)} calls")


def a_step(drafter: AdaptiveDrafter, text: Int32Array, at: int, rng: np.random.Generator) -> Step:
    """Make a step with eight evaluated nodes, two of them accepted."""
    draft = drafter.draft(text[:at], int(text[at]), 8)
    tokens = text[at + 1 : at + 9]
    befores = np.concatenate((text[at - 1 : at + 1], tokens[:-1]))
    lasts = np.concatenate((text[at : at + 1], tokens))
    top = rng.integers(0, VOCABULARY, (len(lasts), 8)).astype(np.int32)
    likely = np.asarray([0.6, 0.2, 0.1, 0.05, 0.02, 0.01, 0.01, 0.01], np.float32)
    probs = np.tile(likely, (len(lasts), 1))
    return Step(draft, np.arange(-1, 2, dtype=np.int32), tokens[:3], befores, lasts, top, probs)


def look_up_figure(drafter: AdaptiveDrafter, rng: np.random.Generator) -> Figure:
    """Measure how long one context takes to be found and read, of a million drawn at random."""
    matrix = drafter.matrix
    keys = rng.choice(matrix.table.keys[: len(matrix)], 1_000_000)
    look_up: Any = numba.njit(nogil=True)(_look_up)
    look_up(matrix.table, keys[:9])
    lookups = [seconds_of(lambda: look_up(matrix.table, keys)) for _ in range(9)]
    microseconds = [t / len(keys) * 1e6 for t in lookups]
    return Figure(
        "looking up one context, in a kernel",
        statistics.median(microseconds),
        "µs",
        1.0,
        f"worst {max(microseconds):.3f} µs of {len(lookups)} rounds of a million",
    )


def search_figures(
    drafter: AdaptiveDrafter, texts: Int32Array, places: list[tuple[int, int]]
) -> tuple[list[Figure], float]:
    """Measure searches at places in the texts; also return the share that reached NODES nodes."""
    matrix, spans, counts = drafter.matrix, drafter.spans, drafter.calibration.counts
    drafted: list[int] = []

    def search(text: Int32Array, at: int) -> None:
        tree = best_first(
            matrix.table,
            spans.log,
            counts,
            text[:at],
            int(text[at]),
            max_nodes=NODES,
            max_leaves=NODES,
            least=0.0,
        )
        drafted.append(len(tree))

    def search_puct(text: Int32Array, at: int) -> None:
        puct(matrix.table, int(text[at - 1]), int(text[at]), max_nodes=NODES)

    figures = [
        timed(
            f"best-first search for {NODES} nodes",
            (partial(search, texts[n], i) for n, i in places),
            "µs",
            100.0,
        ),
        timed(
            "best-first search as the drafter is set",
            (partial(drafter.draft, texts[n, :i], int(texts[n, i]), NODES) for n, i in places),
            "µs",
            None,
        ),
        timed(
            f"PUCT search for {NODES} nodes",
            (partial(search_puct, texts[n], i) for n, i in places),
            "µs",
            100.0,
        ),
    ]
    return figures, float(np.mean(np.asarray(drafted) == NODES))


def learning_figures(drafter: AdaptiveDrafter, steps: list[Step]) -> tuple[Figure, Figure]:
    """Measure how long the drafter takes to learn a text, and a step."""
    fresh = make_texts(ROUNDS, seed=2)
    texts = (partial(drafter.read, text) for text in fresh)
    learned = (partial(drafter.learn, step) for step in steps)
    return (
        timed(f"learning a text of {LENGTH} tokens", texts, "ms", 5.0),
        timed("learning a step: 8 nodes, 3 tokens", learned, "µs", None),
    )


def exchange_figures(matrix: TrigramMatrix) -> list[Figure]:
    """Measure how long the matrix takes to be exported, and to be absorbed by an empty one."""
    rows = matrix.export()
    exports = [seconds_of(matrix.export) for _ in range(3)]
    absorbs = [seconds_of(lambda: AdaptiveDrafter().matrix.absorb(rows)) for _ in range(3)]
    return [
        Figure("exporting the matrix", statistics.median(exports), "s", None, "of 3"),
        Figure("absorbing it into an empty one", statistics.median(absorbs), "s", None, "of 3"),
    ]


def measure(tokens: int) -> tuple[list[Figure], dict[str, object]]:
    """Measure all figures; return them and the conditions they were measured under."""
    rng = np.random.default_rng(1)
    texts = make_texts(tokens // LENGTH, seed=0)
    drafter = AdaptiveDrafter()
    start = time.perf_counter()
    for text in texts:
        drafter.read(text)
    reading = time.perf_counter() - start
    megabytes = (drafter.matrix.nbytes + drafter.spans.nbytes) / 1e6
    contexts = len(drafter.matrix)
    pairs = texts[:, :-1].astype(np.int64) << 31 | texts[:, 1:]

    look_up = look_up_figure(drafter, rng)
    of_texts = rng.integers(len(texts), size=ROUNDS).tolist()
    places = list(zip(of_texts, rng.integers(16, LENGTH - 16, ROUNDS).tolist(), strict=True))
    searches, full = search_figures(drafter, texts, places)
    steps = [a_step(drafter, texts[n], i, rng) for n, i in places]
    learning_text, learning_step = learning_figures(drafter, steps)
    figures = [
        learning_text,
        look_up,
        *searches,
        learning_step,
        Figure("memory of matrix and spans", megabytes, "MB", 128.0, ""),
        Figure("reading all texts", reading, "s", None, ""),
        *exchange_figures(drafter.matrix),
    ]
    conditions: dict[str, object] = {
        "tokens": texts.size,
        "texts": f"{len(texts)} of {LENGTH} tokens, Markov chain of order 2, "
        f"{VOCABULARY} tokens, Zipf (see the script)",
        "different pairs in them": np.unique(pairs).size,
        "contexts held": contexts,
        "full searches": f"{full:.0%} reached {NODES} nodes",
    }
    return figures, conditions


def processor() -> str:
    """Return the processor's name if the system gives it, else the architecture."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def main() -> None:
    """Print conditions and figures."""
    parser = argparse.ArgumentParser(description="Measures drafting and learning without a model.")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the figures here, too")
    parser.add_argument("--tokens", type=int, default=1_000_000, help="tokens read beforehand")
    options = parser.parse_args()
    if options.tokens < LENGTH:
        parser.error(f"--tokens must be at least {LENGTH}")
    figures, made_of = measure(options.tokens)
    conditions = {
        "machine": f"{processor()}, {os.cpu_count()} CPUs, {platform.system()}",
        "versions": f"Python {platform.python_version()}, NumPy {np.__version__}, "
        f"Numba {numba.__version__}",
        **made_of,
    }
    for name, condition in conditions.items():
        print(f"{name}: {condition}")
    print()
    for figure in figures:
        print(figure)
    if options.json is not None:
        data = {"conditions": conditions, "figures": [figure._asdict() for figure in figures]}
        options.json.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main()
