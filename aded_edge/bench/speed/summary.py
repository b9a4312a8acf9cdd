"""What the answers of a run come to: one row per visit, category and decoder.

Knows answers, seconds and the conditions of a run. Does not know how a decoder works, nor how
figures are shown.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .decoders import PLAIN, Decoded, RunSettings

ALL_CATEGORIES = "all"
"""The category that is the whole run."""


@dataclass(frozen=True, kw_only=True)
class Answer(Decoded):
    """One turn answered by one decoder."""

    visit: int
    dialog: int  # its place in the run
    category: str
    turn: int
    decoder: str
    identical: bool  # to the answer of llama_cpp.Llama


def summarise(settings: RunSettings, answers: Sequence[Answer]) -> list[dict[str, Any]]:
    """One row per visit, category (ALL_CATEGORIES for the whole) and decoder.

    speed: tokens per second behind the first; speedup: over llama_cpp.Llama on the same turns, of
    the totals and (median, quartiles) turn by turn; mat; identical: share of answers that are
    the same. Of our own decoders also shares: what part of the steps' time was drafting (budget
    included), accepting and learning; overhead: their sum. Of those with measured costs also
    oracle_speedup: what no drafter can exceed; oracle_share: how much of that speed was reached.
    """
    rows = []
    categories = [ALL_CATEGORIES, *dict.fromkeys(answer.category for answer in answers)]
    for visit in range(1, settings.visits + 1):
        for category in categories:
            chosen = [
                a for a in answers if a.visit == visit and category in (ALL_CATEGORIES, a.category)
            ]
            plain = {(a.dialog, a.turn): a for a in chosen if a.decoder == PLAIN}
            for name in settings.decoders:
                own = [a for a in chosen if a.decoder == name]
                if own:
                    same = [plain[a.dialog, a.turn] for a in own]
                    place = {"visit": visit, "category": category, "decoder": name}
                    rows.append(place | _figures(own, same) | _own_figures(own, same))
    return rows


def conditions(result: dict[str, Any]) -> str:
    """What the figures depend on, in one sentence."""
    settings, where = result["settings"], result["conditions"]
    parts = [
        f"{where['model']} ({where['description']})",
        f"{result['dialogs']} dialogs",
        f"{settings['max_tokens']} tokens",
        f"temperature {settings['temperature']:g}",
        f"{settings['threads']} threads of {where['cpu'] or where['machine']}",
        f"n_ctx {settings['n_ctx']}",
        f"flash attention {'on' if settings['flash_attn'] else 'off'}",
        f"{settings['gpu_layers']} GPU layers",
        f"llama-cpp-python {where['llama_cpp_python']}",
    ]
    if where.get("llama_server"):
        parts.append(f"llama-server {where['llama_server']}")
    parts.append(str(where["time"]))
    if result["turns_left_out"]:
        parts.append(f"{result['turns_left_out']} turns too long for the context left out")
    if not result["finished"]:
        parts.append("cut short")
    return ", ".join(parts)


def _figures(own: list[Answer], plain: list[Answer]) -> dict[str, Any]:
    ratios = [
        _speed([a]) / _speed([b])
        for a, b in zip(own, plain, strict=True)
        if len(a.tokens) > 1 and len(b.tokens) > 1
    ]
    middle = statistics.median(ratios) if ratios else 1.0
    quartiles = [middle] * 3
    if len(ratios) > 1:
        quartiles = statistics.quantiles(ratios, n=4, method="inclusive")
    steps = sum(a.steps for a in own)
    return {
        "answers": len(own),
        "tokens": sum(len(a.tokens) for a in own),
        "speed": _speed(own),
        "speedup": _ratio(_speed(own), _speed(plain)),
        "speedup_median": middle,
        "speedup_quartiles": [quartiles[0], quartiles[2]],
        "mat": 1.0 + sum(a.accepted for a in own) / steps if steps else 1.0,
        "identical": sum(a.identical for a in own) / len(own),
    }


def _own_figures(own: list[Answer], plain: list[Answer]) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    seconds = sum(sum(a.parts.values()) for a in own)
    if seconds > 0:
        parts = [part for part in own[0].parts if part != "evaluating"]
        shares = {part: sum(a.parts[part] for a in own) / seconds for part in parts}
        figures |= {"shares": shares, "overhead": sum(shares.values())}
    oracle = sum(a.oracle or 0.0 for a in own)
    if oracle > 0:
        best = sum(len(a.tokens) - 1 for a in own) / oracle
        figures["oracle_speedup"] = _ratio(best, _speed(plain))
        figures["oracle_share"] = _ratio(_speed(own), best)
    return figures


def _speed(answers: list[Answer]) -> float:
    return _ratio(sum(len(a.tokens) - 1 for a in answers), sum(a.seconds for a in answers))


def _ratio(over: float, under: float) -> float:
    return over / under if under > 0 else 0.0
