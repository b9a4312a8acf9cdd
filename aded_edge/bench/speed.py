"""How fast a real model answers, side by side: llama_cpp.Llama, drafting off, paper and auto.

All decoders answer each turn of each dialog one after the other, so that the machine's drift
hits all alike; the conversation goes on with the answer of llama_cpp.Llama, so that all see the
same prompts. The clock starts with the first token of an answer: prompts are left out.

Knows dialogs and decoders. Does not know how anything is drafted.
"""

from __future__ import annotations

import json
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import llama_cpp

from ..config import Drafting
from ..errors import BenchError
from ..llama import Llama
from .prompts import Dialog, Prompter

PLAIN = "llama_cpp"
"""The decoder that all others are compared with."""

DECODERS = (PLAIN, "off", "paper", "auto")


@dataclass(frozen=True)
class Settings:
    """Conditions of a run; they are part of its result."""

    model: str
    prompts: str
    decoders: tuple[str, ...] = DECODERS
    max_tokens: int = 128
    visits: int = 2
    n_ctx: int = 2048
    threads: int = 2
    gpu_layers: int = 0
    temperature: float = 0.0
    seed: int = 0
    flash_attn: bool = False


@dataclass(frozen=True)
class Answer:
    """One turn answered by one decoder."""

    visit: int
    dialog: int  # its place in the run
    category: str
    turn: int
    decoder: str
    tokens: list[int] = field(repr=False)
    seconds: float  # from the first token to the last
    steps: int
    accepted: int
    identical: bool  # to the answer of llama_cpp.Llama


def run(
    settings: Settings, dialogs: list[Dialog], progress: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """Runs all visits and returns conditions, answers and summary, ready for JSON."""
    answers: list[Answer] = []
    costs: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="aded-edge-bench-") as folder:
        for visit in range(1, settings.visits + 1):
            with ExitStack() as stack:
                models = _open(settings, Path(folder), stack)
                prompter = Prompter(models[PLAIN])
                for place, dialog in enumerate(dialogs):
                    answers += _answer_dialog(settings, models, prompter, dialog, visit, place)
                    progress()
                costs[f"visit {visit}"] = _curves(models)
    asked = settings.visits * len(settings.decoders) * sum(len(d.turns) for d in dialogs)
    return {
        "settings": asdict(settings),
        "conditions": machine(Path(settings.model)),
        "dialogs": len(dialogs),
        "turns_left_out": (asked - len(answers)) // (settings.visits * len(settings.decoders)),
        "cost_curves": costs,
        "summary": summarise(settings, answers),
        "answers": [asdict(answer) for answer in answers],
    }


def machine(model: Path) -> dict[str, Any]:
    """What a figure depends on besides its settings: model, machine and versions."""
    return {
        "model": model.name,
        "bytes": model.stat().st_size,
        "machine": platform.platform(),
        "python": platform.python_version(),
        "llama_cpp_python": llama_cpp.__version__,
        "system": llama_cpp.llama_print_system_info().decode("utf-8", "replace").strip(),
        "time": time.strftime("%Y-%m-%d %H:%M:%S"),
    }


def _open(settings: Settings, folder: Path, stack: ExitStack) -> dict[str, llama_cpp.Llama]:
    common: dict[str, Any] = {
        "n_ctx": settings.n_ctx,
        "n_threads": settings.threads,
        "n_threads_batch": settings.threads,
        "n_gpu_layers": settings.gpu_layers,
        "flash_attn": settings.flash_attn,
        "verbose": False,
    }
    models: dict[str, llama_cpp.Llama] = {}
    for name in settings.decoders:
        if name == PLAIN:
            models[name] = llama_cpp.Llama(settings.model, **common)
        else:
            drafting = cast(Drafting, name)
            store = folder / f"{name}.db"
            models[name] = Llama(settings.model, drafting=drafting, store=store, **common)
        stack.callback(models[name].close)
    return models


def _answer_dialog(
    settings: Settings,
    models: dict[str, llama_cpp.Llama],
    prompter: Prompter,
    dialog: Dialog,
    visit: int,
    place: int,
) -> Iterator[Answer]:
    messages: list[dict[str, str]] = []
    for turn, text in enumerate(dialog.turns):
        messages.append({"role": "user", "content": text})
        prompt = prompter.tokens(messages)
        if len(prompt) + settings.max_tokens >= settings.n_ctx:
            return  # all decoders skip it alike
        names = list(models)
        order = random.Random(1000 * visit + 10 * place + turn).sample(names, len(names))
        timed = {name: _decode(models[name], prompt, settings) for name in order}
        for name in names:
            tokens, seconds, steps, accepted = timed[name]
            same = tokens == timed[PLAIN][0]
            yield Answer(
                visit,
                place,
                dialog.category,
                turn,
                name,
                tokens,
                seconds,
                steps,
                accepted,
                same,
            )
        messages.append({"role": "assistant", "content": prompter.text(timed[PLAIN][0])})


def _decode(
    model: llama_cpp.Llama, prompt: list[int], settings: Settings
) -> tuple[list[int], float, int, int]:
    model.set_seed(settings.seed)
    stream = model.generate(prompt, temp=settings.temperature)
    tokens: list[int] = []
    began = 0.0
    vocab = model._model.vocab
    for token in stream:
        if not tokens:
            began = time.perf_counter()
        tokens.append(int(token))
        if llama_cpp.llama_vocab_is_eog(vocab, token) or len(tokens) >= settings.max_tokens:
            break
    stream.close()
    seconds = time.perf_counter() - began
    memory = getattr(model, "_memory", None)
    if memory is not None:
        memory.wait()  # it must not save while the next decoder is timed
    stats = getattr(model, "stats", None)
    if stats is None:
        return tokens, seconds, len(tokens) - 1, 0
    return tokens, seconds, stats.steps, stats.accepted


def _curves(models: dict[str, llama_cpp.Llama]) -> dict[str, Any]:
    curves = {}
    for name, model in models.items():
        loop = getattr(model, "_loop", None)
        curve = getattr(loop and loop.budget, "curve", None)
        if curve is not None:
            curves[name] = curve.seconds()
    return curves


def summarise(settings: Settings, answers: list[Answer]) -> list[dict[str, Any]]:
    """One row per visit, category ("all" for the whole) and decoder.

    speed: tokens per second; speedup: over llama_cpp.Llama on the same turns, of the totals and
    (median, quartiles) turn by turn; mat; identical: share of answers that are the same.
    """
    rows = []
    categories = ["all", *dict.fromkeys(answer.category for answer in answers)]
    for visit in range(1, settings.visits + 1):
        for category in categories:
            chosen = [a for a in answers if a.visit == visit and category in ("all", a.category)]
            plain = {(a.dialog, a.turn): a for a in chosen if a.decoder == PLAIN}
            for name in settings.decoders:
                own = [a for a in chosen if a.decoder == name]
                if own:
                    rows.append(_row(visit, category, name, own, plain))
    return rows


def _row(
    visit: int,
    category: str,
    name: str,
    own: list[Answer],
    plain: dict[tuple[int, int], Answer],
) -> dict[str, Any]:
    def speed(answers: list[Answer]) -> float:
        seconds = sum(a.seconds for a in answers)
        return sum(len(a.tokens) - 1 for a in answers) / seconds if seconds > 0 else 0.0

    ratios = sorted(
        speed([a]) / speed([plain[a.dialog, a.turn]])
        for a in own
        if len(a.tokens) > 1 and len(plain[a.dialog, a.turn].tokens) > 1
    )
    steps = sum(a.steps for a in own)
    quartiles = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else [1.0, 1.0, 1.0]
    return {
        "visit": visit,
        "category": category,
        "decoder": name,
        "answers": len(own),
        "tokens": sum(len(a.tokens) for a in own),
        "speed": speed(own),
        "speedup": speed(own) / max(speed(list(plain.values())), 1e-9),
        "speedup_median": statistics.median(ratios) if ratios else 1.0,
        "speedup_quartiles": [quartiles[0], quartiles[2]],
        "mat": 1.0 + sum(a.accepted for a in own) / steps if steps else 1.0,
        "identical": sum(a.identical for a in own) / len(own),
    }


def save(result: dict[str, Any], path: Path) -> None:
    """Writes a result as JSON.

    Raises:
        BenchError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise BenchError(f"cannot write {path}: {error}") from error
