#!/usr/bin/env python3
"""Measures what a completion adds to each token: .venv/bin/python scripts/bench_completion.py

Nothing is evaluated: a script stands for `generate` and gives the tokens of a made-up text, so
that all of the time is the completion's own. Each way to complete is timed for short and long
answers, the ways in turn, and the median of the rounds is reported in microseconds per token.
`share` is the part of `generate`'s speed that is left where `generate` makes 500 tokens a second.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import llama_cpp

from aded_edge import Llama
from aded_edge.models import default_model_path

LENGTHS = (200, 1000, 4000)
TOKENS_PER_SECOND = 500
TEXT = "Naïve cafés serve 中文 menus, and the fox 🦊 reads them aloud: one, two, three. "
STOPS = ["###", "<|im_start|>", "\nUser:"]
QUESTION: Any = [{"role": "user", "content": "Read it aloud."}]


class Scripted(Llama):
    """A model whose tokens are given."""

    script: list[int]

    def generate(self, *_: Any, **__: Any) -> Iterator[int]:  # type: ignore[override]
        """Yield the script."""
        yield from self.script


def ours(llama: Scripted, tokens: int) -> None:
    """A completion of ours, not streamed."""
    llama.create_completion("x", max_tokens=tokens, stop=STOPS)


def streamed(llama: Scripted, tokens: int) -> None:
    """The same, streamed."""
    for _ in llama.create_completion("x", max_tokens=tokens, stop=STOPS, stream=True):
        pass


def chat(llama: Scripted, tokens: int) -> None:
    """A streamed answer of a chat."""
    for _ in llama.create_chat_completion(QUESTION, max_tokens=tokens, stream=True):
        pass


def inherited(llama: Scripted, tokens: int) -> None:
    """A streamed completion of llama_cpp."""
    for _ in llama_cpp.Llama._create_completion(
        llama, "x", max_tokens=tokens, stop=STOPS, stream=True
    ):
        pass


WAYS: dict[str, Callable[[Scripted, int], None]] = {
    "create_completion": ours,
    "create_completion, streamed": streamed,
    "create_chat_completion, streamed": chat,
    "llama_cpp's, streamed": inherited,
}


def microseconds(llama: Scripted, rounds: int) -> dict[str, dict[int, float]]:
    """Way -> tokens of the answer -> median microseconds per token, `generate` subtracted."""
    times: dict[str, dict[int, list[float]]] = {way: {n: [] for n in LENGTHS} for way in WAYS}
    for _ in range(rounds):
        for length in LENGTHS:
            for way, run in WAYS.items():
                began = time.perf_counter()
                for _ in islice(llama.generate(), length):
                    pass
                alone = time.perf_counter() - began
                began = time.perf_counter()
                run(llama, length)
                times[way][length].append((time.perf_counter() - began - alone) / length * 1e6)
    return {
        way: {length: statistics.median(seen) for length, seen in of.items()}
        for way, of in times.items()
    }


def main() -> None:
    """Measure and print; `--json` also writes a file."""
    parser = argparse.ArgumentParser(description="What a completion adds to each token.")
    parser.add_argument("--model", type=Path, default=default_model_path())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    llama = Scripted(
        options.model, drafting="off", store=None, n_ctx=max(LENGTHS) + 512, verbose=False
    )
    text = llama.tokenize((TEXT * (max(LENGTHS) // 10)).encode(), add_bos=False)
    llama.script = text[: max(LENGTHS)]
    llama.n_tokens = 1  # a chat's stopping criteria look at the last row of logits
    found = microseconds(llama, options.rounds)
    conditions = {
        "model": options.model.name,
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs, {platform.system()}",
        "python": platform.python_version(),
        "llama_cpp_python": llama_cpp.__version__,
        "rounds": options.rounds,
    }
    print(", ".join(f"{name} {value}" for name, value in conditions.items()))
    print(f"{'microseconds per token':34}" + "".join(f"{n:>8}" for n in LENGTHS) + "   share")
    for way, of in found.items():
        worst = max(of.values())
        share = 1e6 / TOKENS_PER_SECOND / (1e6 / TOKENS_PER_SECOND + worst)
        print(f"{way:34}" + "".join(f"{us:8.1f}" for us in of.values()) + f"{share:8.1%}")
    if options.json is not None:
        result = {"conditions": conditions, "microseconds_per_token": found}
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
