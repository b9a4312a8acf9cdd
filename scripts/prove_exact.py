#!/usr/bin/env python3
"""Shows which answers are those of plain decoding: scripts/prove_exact.py MODEL --prompts FILE

`llama_cpp.Llama`, `Llama(exact=True)` and `Llama()` answer the same prompts, in turn, greedily and
with seeds. Printed and written as JSON: the share of identical answers of each, its speed over
plain decoding without the prompt, and every first difference with its logit margin: the difference
of plain decoding's two highest logits at that place, and the rank of the other token there.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import llama_cpp
import numpy as np

from aded_edge import Llama
from aded_edge.bench.dialogs import load_dialogs
from aded_edge.llamacpp.context import ends_answer, last_logits
from aded_edge.llamacpp.prompt import Prompter
from aded_edge.llamacpp.system import build_name

Sampling = dict[str, float]


@dataclass
class Tally:
    """What one way to decode did, in comparison with plain decoding."""

    answers: int = 0
    identical: int = 0
    tokens: int = 0
    seconds: float = 0.0
    differences: list[dict[str, Any]] = field(default_factory=list)


def main() -> None:
    """Answer all prompts in every way, and report after each."""
    options = _options()
    settings: dict[str, Any] = {
        "n_ctx": options.ctx,
        "n_threads": options.threads,
        "n_threads_batch": options.threads,
        "flash_attn": options.flash_attn,
        "verbose": False,
    }
    if options.kv_q8:
        settings |= {"type_k": llama_cpp.GGML_TYPE_Q8_0, "type_v": llama_cpp.GGML_TYPE_Q8_0}
    plain = llama_cpp.Llama(str(options.model), **settings)
    prompts = _prompts(plain, options)
    ways: dict[str, Any] = {
        "plain": plain,
        "exact": Llama(options.model, exact=True, store=options.store, **settings),
        "auto": Llama(options.model, store=options.store, **settings),
    }
    tallies = {way: Tally() for way in ways}
    for number in range(options.greedy + options.seeded):
        prompt = prompts[number % len(prompts)]
        sampling = {"temp": 0.0} if number < options.greedy else {"temp": 0.8}
        said: list[int] = []
        for way, llama in ways.items():
            answer, seconds = _answer(llama, prompt, sampling, number, options.max_tokens)
            said = answer if way == "plain" else said
            tally = tallies[way]
            tally.answers += 1
            tally.identical += answer == said
            tally.tokens += max(len(answer) - 1, 0)
            tally.seconds += seconds
            if answer != said:
                margin = _margin(ways["plain"], prompt, sampling, number, said, answer)
                tally.differences.append({"prompt": len(prompt), **sampling, **margin})
        _report(tallies, ways, options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--prompts", type=Path, required=True, help="in Spec-Bench's format")
    parser.add_argument("--greedy", type=int, default=200, help="number of greedy answers")
    parser.add_argument("--seeded", type=int, default=100, help="number of sampled answers")
    parser.add_argument("--max-tokens", type=int, default=256)
    parser.add_argument(
        "--histories", default="0,0,1000,3000", help="least tokens of the prompts, in turn"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--ctx", type=int, default=4096)
    parser.add_argument("--flash-attn", action="store_true")
    parser.add_argument("--kv-q8", action="store_true", help="KV cache in Q8_0 (--flash-attn)")
    parser.add_argument("--store", type=Path, help="keeps curve, proof and what was learned")
    parser.add_argument("--out", type=Path, help="write JSON here")
    return parser.parse_args()


def _prompts(plain: llama_cpp.Llama, options: argparse.Namespace) -> list[list[int]]:
    """Chat prompts; longer ones have other questions in front.

    Raises:
        SystemExit: none fits into the context.
    """
    chat = Prompter(plain)
    turns = [turn for dialog in load_dialogs(options.prompts) for turn in dialog.turns]
    least = [int(length) for length in options.histories.split(",")]
    room = options.ctx - options.max_tokens - 1
    prompts = []
    for number, turn in enumerate(turns):
        text, other = turn, number
        tokens = chat.tokens([{"role": "user", "content": text}])
        while len(tokens) < least[number % len(least)]:
            other += 1
            text = f"{turns[other % len(turns)]}\n\n{text}"
            tokens = chat.tokens([{"role": "user", "content": text}])
        if len(tokens) <= room:
            prompts.append(tokens)
    if not prompts:
        raise SystemExit(
            f"no prompt of {options.prompts} leaves room for {options.max_tokens} tokens in a "
            f"context of {options.ctx}: raise --ctx, or lower --max-tokens or --histories"
        )
    return prompts


def _answer(
    llama: Any, prompt: list[int], sampling: Sampling, seed: int, most: int
) -> tuple[list[int], float]:
    """The answer's tokens, and the seconds that all but the first took; 0 if there are none."""
    llama.reset()
    llama.set_seed(seed)
    answer: list[int] = []
    began = ended = 0.0
    stream = llama.generate(prompt, **sampling)
    for token in islice(stream, most):
        ended = time.perf_counter()
        began = began or ended
        answer.append(token)
        if ends_answer(llama, token):
            break
    stream.close()
    return answer, ended - began


def _margin(
    plain: Any,
    prompt: list[int],
    sampling: Sampling,
    seed: int,
    said: list[int],
    answer: list[int],
) -> dict[str, Any]:
    """Where an answer left plain decoding, and how close the decision was there."""
    pairs = zip(said, answer, strict=False)
    place = next((i for i, (ours, other) in enumerate(pairs) if ours != other), None)
    if place is None:
        return {"place": min(len(said), len(answer)), "margin": None, "rank": None}
    again, _ = _answer(plain, prompt, sampling, seed, max(place, 1))
    if place:
        plain.eval(again[-1:])
    logits = last_logits(plain)
    order = np.argsort(logits)[::-1]
    return {
        "place": place,
        "margin": float(logits[order[0]] - logits[order[1]]),
        "rank": int(np.flatnonzero(order == answer[place])[0]) + 1,
    }


def _over_plain(tally: Tally, plain: Tally) -> float | None:
    """The speed over plain decoding; None as long as either had no token after a first one."""
    if not tally.tokens or not plain.tokens:
        return None
    return (tally.tokens / tally.seconds) / (plain.tokens / plain.seconds)


def _report(tallies: dict[str, Tally], ways: dict[str, Any], options: argparse.Namespace) -> None:
    ratios = {way: _over_plain(tally, tallies["plain"]) for way, tally in tallies.items()}
    result = {
        "build": build_name(),
        "options": {name: str(value) for name, value in vars(options).items()},
        "plain_because": ways["exact"].stats.plain_because,
        "ways": {way: {**vars(tally), "over_plain": ratios[way]} for way, tally in tallies.items()},
    }
    if options.out is not None:
        options.out.write_text(json.dumps(result, indent=1), encoding="utf-8")
    shown = (
        f"{way} {tally.identical}/{tally.answers} identical, "
        f"{'no speed yet' if ratios[way] is None else f'{ratios[way]:.2f}x'}"
        for way, tally in tallies.items()
    )
    print(" | ".join(shown), flush=True)


if __name__ == "__main__":
    main()
