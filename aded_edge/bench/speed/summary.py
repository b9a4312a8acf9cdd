"""Summary of a run: one row of figures per visit, category and decoder.

Knows answers, seconds and the conditions of a run. Does not know how a decoder works, nor how
figures are shown.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aded_edge.bench.dialogs import ALL_CATEGORIES

from .decoders import PLAIN, RunSettings, TimedAnswer


@dataclass(frozen=True, kw_only=True)
class RunAnswer(TimedAnswer):
    """One answer and its place in the run.

    Attributes:
        visit: number of the visit, from 1.
        dialog: index of the dialog in the run.
        category: of the dialog.
        turn: index of the turn in the dialog.
        decoder: name of the decoder.
        identical: whether its tokens are those of llama_cpp.Llama.
    """

    visit: int
    dialog: int
    category: str
    turn: int
    decoder: str
    identical: bool


def summarise(settings: RunSettings, answers: Sequence[RunAnswer]) -> list[dict[str, Any]]:
    """Compute one row of figures per visit, category and decoder.

    The category ALL_CATEGORIES has the figures of all dialogs. Speeds do not include the first
    token of an answer, nor the time to it.

    Returns:
        Rows with the keys visit, category, decoder and
            answers, tokens: counts.
            speed: tokens per second.
            speedup: speed in units of llama_cpp.Llama's speed on the same turns, by total time.
            speedup_median, speedup_quartiles: the same ratio, computed turn by turn.
            mat: mean accepted tokens per step, bonus included.
            identical: share of answers with the same tokens as llama_cpp.Llama's.
        and for decoders that are aded_edge.Llama also
            shares: part of a step, other than evaluating -> share of the steps' time.
            overhead: sum of these shares.
        and for decoders with a measured cost curve also
            oracle_speedup: upper bound of any drafter's speedup.
            oracle_share: share of the oracle's speed that was reached.
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


def describe_conditions(result: dict[str, Any]) -> str:
    """Name everything that the figures depend on, separated by commas."""
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
        parts.append(f"{result['turns_left_out']} turns left out: too long for the context")
    if not result["finished"]:
        parts.append("cut short")
    return ", ".join(parts)


def _figures(own: list[RunAnswer], plain: list[RunAnswer]) -> dict[str, Any]:
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


def _own_figures(own: list[RunAnswer], plain: list[RunAnswer]) -> dict[str, Any]:
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


def _speed(answers: list[RunAnswer]) -> float:
    return _ratio(sum(len(a.tokens) - 1 for a in answers), sum(a.seconds for a in answers))


def _ratio(over: float, under: float) -> float:
    return over / under if under > 0 else 0.0
