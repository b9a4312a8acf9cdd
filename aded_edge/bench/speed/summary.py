"""Summary of a benchmark: one row of figures per visit, category and decoder.

Knows answers, seconds and the conditions of a run. Does not know how a decoder works, nor how
figures are shown.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from aded_edge.bench.dialogs import ALL_CATEGORIES
from aded_edge.llamacpp.system import build_name

from .decoders import PLAIN, RunSettings, TimedAnswer

LONG_PROMPTS = "long prompts"
"""Category of all turns with a long prompt, which count in their own category too."""

LONG_TOKENS = 1000
"""Tokens of a prompt from which it is long."""

RATIOS = ("first", "answer", "generation")
"""The figures that say how many times as fast as llama_cpp.Llama a decoder is."""


@dataclass(frozen=True, kw_only=True)
class RunAnswer(TimedAnswer):
    """One answer and its place in the benchmark.

    Attributes:
        run, visit: numbers of the run and of the visit, from 1.
        dialog: index of the dialog.
        category: of the dialog.
        turn: index of the turn in the dialog.
        decoder: name of the decoder.
        prompt_tokens: tokens of the whole prompt.
        differs: index of the first character that is not llama_cpp.Llama's; None if the answer is
            the same.
    """

    run: int
    visit: int
    dialog: int
    category: str
    turn: int
    decoder: str
    prompt_tokens: int
    differs: int | None

    def belongs_to(self, category: str) -> bool:
        """Whether the answer counts in a category's row."""
        if category == LONG_PROMPTS:
            return self.prompt_tokens >= LONG_TOKENS
        return category in {ALL_CATEGORIES, self.category}


def summarise(settings: RunSettings, answers: Sequence[RunAnswer]) -> list[dict[str, Any]]:
    """Compute one row of figures per visit, category and decoder.

    The category ALL_CATEGORIES has the figures of all turns, LONG_PROMPTS those with a long prompt.
    A ratio above 1 means faster than llama_cpp.Llama on the same turns. Where two answers differ in
    length, times are compared up to the length of the shorter one.

    Returns:
        Rows with the keys visit, category, decoder and
            answers, tokens: counts.
            first: ratio of the times to the first piece of text, sums over all turns.
            answer: ratio of the times to the end of the answer, sums over all turns.
            answer_median, answer_quartiles: the same ratio, computed turn by turn.
            speed: tokens per second after the first one.
            generation: ratio of these speeds.
            seconds_first, seconds_last: mean times.
            mat: mean accepted tokens per step, bonus included.
            identical: share of answers with the same text as llama_cpp.Llama's.
        for decoders that are aded_edge.Llama also
            shares: part of a step, other than evaluating -> share of the steps' time.
            overhead: sum of these shares.
        for decoders with a measured cost curve also
            oracle_speedup: upper bound of any drafter's `generation`.
            oracle_share: share of the oracle's speed that was reached.
        in rows of ALL_CATEGORIES also
            worst: the category with the lowest `answer`, as {"category", "answer"}.
        With several runs each figure is the median over the runs (counts are of all runs), and
            runs: figure -> its values, for the three ratios.
    """
    numbers = sorted({answer.run for answer in answers})
    each = [_one_run(settings, [a for a in answers if a.run == number]) for number in numbers]
    rows = [_median(list(same)) for same in _matched(each)]
    for row in rows:
        if row["category"] == ALL_CATEGORIES and (worst := _worst(row, rows)):
            row["worst"] = worst
    return rows


def first_difference(text: str, other: str) -> int | None:
    """Return the index of the first character in which two texts differ, None if they are equal."""
    if text == other:
        return None
    pairs = enumerate(zip(text, other, strict=False))
    return next((n for n, (a, b) in pairs if a != b), min(len(text), len(other)))


def describe_conditions(result: dict[str, Any]) -> str:
    """Name everything that the figures depend on, separated by commas."""
    settings, where = result["settings"], result["conditions"]
    baseline = where["baseline"]
    parts = [
        f"{where['model']} ({where['description']})",
        f"{result['dialogs']} dialogs",
        f"{settings['max_tokens']} tokens",
        f"temperature {settings['temperature']:g}",
        f"{settings['threads']} threads of {where['cpu'] or where['machine']}",
        f"n_ctx {settings['n_ctx']}",
        f"flash attention {'on' if settings['flash_attn'] else 'off'}",
        f"{settings['gpu_layers']} GPU layers" + _on(where),
        build_name(where["llama_cpp_python"], where["system"]),
        f"baseline {baseline['interpreter']} with "
        f"{build_name(baseline['llama_cpp_python'], baseline['system'])}{_on(baseline)}",
    ]
    if settings["runs"] > 1:
        parts.append(f"medians of {settings['runs']} runs")
    if where.get("llama_server"):
        parts.append(f"llama-server {where['llama_server']}")
    parts.append(str(where["time"]))
    if result["turns_left_out"]:
        parts.append(f"{result['turns_left_out']} turns left out: too long for the context")
    if not result["finished"]:
        parts.append("cut short")
    return ", ".join(parts)


def _on(where: dict[str, Any]) -> str:
    devices = where.get("devices")  # an older result has none, nor an older baseline
    if devices is None:
        return ""
    return f" on {', '.join(devices)}" if devices else " (the CPU evaluates)"


def _one_run(settings: RunSettings, answers: Sequence[RunAnswer]) -> list[dict[str, Any]]:
    rows = []
    categories = [ALL_CATEGORIES, *dict.fromkeys(answer.category for answer in answers)]
    categories.append(LONG_PROMPTS)
    for visit in range(1, settings.visits + 1):
        for category in categories:
            chosen = [a for a in answers if a.visit == visit and a.belongs_to(category)]
            plain = {(a.dialog, a.turn): a for a in chosen if a.decoder == PLAIN}
            for name in settings.decoders:
                own = [a for a in chosen if a.decoder == name]
                if own:
                    same = [plain[a.dialog, a.turn] for a in own]
                    place = {"visit": visit, "category": category, "decoder": name}
                    rows.append(place | _figures(own, same) | _own_figures(own, same))
    return rows


def _matched(each: list[list[dict[str, Any]]]) -> list[list[dict[str, Any]]]:
    """Group the rows of all runs by visit, category and decoder."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for rows in each:
        for row in rows:
            groups.setdefault((row["visit"], row["category"], row["decoder"]), []).append(row)
    return list(groups.values())


def _median(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the medians over runs of all figures; counts are added."""
    if len(rows) == 1:
        return rows[0]
    merged: dict[str, Any] = {}
    for key, value in rows[0].items():
        values = [row[key] for row in rows if key in row]
        if key in {"answers", "tokens"}:
            merged[key] = sum(values)
        elif isinstance(value, list):
            merged[key] = [statistics.median(v) for v in zip(*values, strict=True)]
        elif isinstance(value, dict):
            merged[key] = {k: statistics.median(v[k] for v in values) for k in value}
        else:
            merged[key] = statistics.median(values) if isinstance(value, float) else value
    merged["runs"] = {name: [row[name] for row in rows] for name in RATIOS}
    return merged


def _worst(row: dict[str, Any], rows: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the category in which the decoder of a row is slowest, relative to plain decoding."""
    if row["decoder"] == PLAIN:
        return None
    same = [
        other
        for other in rows
        if (other["visit"], other["decoder"]) == (row["visit"], row["decoder"])
        and other["category"] != ALL_CATEGORIES
    ]
    worst = min(same, key=lambda other: float(other["answer"]))
    return {"category": worst["category"], "answer": worst["answer"]}


def _figures(own: list[RunAnswer], plain: list[RunAnswer]) -> dict[str, Any]:
    pairs = list(zip(own, plain, strict=True))
    ratios = [ratio for a, b in pairs if (ratio := _ratio(_until(b, a), _until(a, b)))]
    middle = statistics.median(ratios) if ratios else 1.0
    quartiles = [middle] * 3
    if len(ratios) > 1:
        quartiles = statistics.quantiles(ratios, n=4, method="inclusive")
    steps = sum(a.steps for a in own)
    return {
        "answers": len(own),
        "tokens": sum(a.tokens for a in own),
        "first": _ratio(_sum(plain, _first), _sum(own, _first)),
        "answer": _ratio(sum(_until(b, a) for a, b in pairs), sum(_until(a, b) for a, b in pairs)),
        "answer_median": middle,
        "answer_quartiles": [quartiles[0], quartiles[2]],
        "speed": _speed(own),
        "generation": _ratio(_speed(own), _speed(plain)),
        "seconds_first": _sum(own, _first) / len(own),
        "seconds_last": sum(a.seconds_last for a in own) / len(own),
        "mat": 1.0 + sum(a.accepted for a in own) / steps if steps else 1.0,
        "identical": sum(a.differs is None for a in own) / len(own),
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
        best = sum(a.tokens - 1 for a in own) / oracle
        figures["oracle_speedup"] = _ratio(best, _speed(plain))
        figures["oracle_share"] = _ratio(_speed(own), best)
    return figures


def _until(answer: RunAnswer, other: RunAnswer) -> float:
    """Seconds to the end of an answer, or to the place where another one ends that is shorter."""
    shorter = min(answer.tokens, other.tokens)
    if shorter in {0, answer.tokens}:
        return answer.seconds_last
    return answer.seconds_first + _generating(answer) * (shorter - 1) / (answer.tokens - 1)


def _first(answer: RunAnswer) -> float:
    return answer.seconds_first


def _generating(answer: RunAnswer) -> float:
    return answer.seconds_last - answer.seconds_first


def _sum(answers: list[RunAnswer], seconds: Callable[[RunAnswer], float]) -> float:
    return sum(map(seconds, answers))


def _speed(answers: list[RunAnswer]) -> float:
    tokens = sum(max(a.tokens - 1, 0) for a in answers)
    return _ratio(tokens, _sum(answers, _generating))


def _ratio(over: float, under: float) -> float:
    return over / under if under > 0 else 0.0
