"""Simulate a month with the assistant: 30 sessions over recurring topics, one per day.

Three assistants hold the same conversations: one keeps its matrix from day to day, one starts each
day with an empty matrix, one decodes plainly. They are opened anew each day, so that all they know
comes from the disk, and each session is a new conversation. All see the same answers before each
question. They take turns in a random order, so a machine that slows down slows all of them.

Knows sessions and seconds. Does not know how an answer is made, nor how a picture is drawn.
"""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from aded_edge.assistant import Assistant
from aded_edge.bench.machine import run_conditions
from aded_edge.errors import BenchError
from aded_edge.runtime.llama import Llama
from aded_edge.runtime.options import Drafting
from aded_edge.store import Message

KEPT, COLD, PLAIN = "kept", "cold", "plain"
"""Kinds of assistants: matrix kept from day to day, matrix empty every day, plain decoding."""

_DRAFTING: Mapping[str, Drafting] = {KEPT: "auto", COLD: "auto", PLAIN: "off"}


@dataclass(frozen=True)
class Session:
    """The user's side of one day's conversation."""

    day: int
    topic: str
    turns: tuple[str, ...]


@dataclass(frozen=True)
class MonthSettings:
    """Settings of a run; part of its result."""

    max_tokens: int
    threads: int
    n_ctx: int
    temperature: float = 0.0


@dataclass(frozen=True)
class DayFigures:
    """Figures of one day's answers by one kind of assistant.

    Attributes:
        day, topic: of the session.
        kind: KEPT, COLD or PLAIN.
        answers: number of answers.
        tokens: tokens of the answers without the first of each.
        seconds: time of these tokens.
        mat: mean accepted tokens per step, bonus included.
        identical: number of answers with the same text as by plain decoding.
    """

    day: int
    topic: str
    kind: str
    answers: int
    tokens: int
    seconds: float
    mat: float
    identical: int


def sessions(path: Path | None = None) -> list[Session]:
    """Read sessions from a file, by default from the one in this package.

    Raises:
        BenchError: the file cannot be read, or contains a line that is not a session.
    """
    source = path or files(__package__).joinpath("month.jsonl")
    try:
        rows = [json.loads(line) for line in source.read_text(encoding="utf-8").splitlines()]
        return [Session(int(row["day"]), str(row["topic"]), tuple(row["turns"])) for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BenchError(
            f"{source} is not a file of sessions ({error}); write one JSON object per line, with "
            "day, topic and turns"
        ) from error


def run(
    model: Path,
    days: Sequence[Session],
    settings: MonthSettings,
    progress: Callable[[int], None] = lambda answers: None,
) -> dict[str, Any]:
    """Hold all sessions.

    Args:
        model: a GGUF file.
        days: the sessions, in order.
        settings: settings of the run.
        progress: called with the number of answers done since the last call.

    Returns:
        Conditions, settings and one row per day and kind of assistant, ready for JSON.

    Raises:
        ModelError: the model cannot be loaded.
    """
    rows: list[DayFigures] = []
    with tempfile.TemporaryDirectory(prefix="aded-edge-month-") as name:
        folder = Path(name)
        _measure_costs(model, folder / f"{COLD}.db", settings)
        for session in days:
            with ExitStack() as stack:
                assistants = {
                    kind: stack.enter_context(_open(kind, model, folder, settings))
                    for kind in _DRAFTING
                }
                rows += _hold(session, assistants, progress)
    return {
        "conditions": run_conditions(model),
        "settings": asdict(settings),
        "rows": [asdict(row) for row in rows],
    }


def _measure_costs(model: Path, store: Path, settings: MonthSettings) -> None:
    # COLD reads its store but never writes it. The cost curve is all that it may find there.
    Llama(
        model,
        store=store,
        n_ctx=settings.n_ctx,
        n_threads=settings.threads,
        n_threads_batch=settings.threads,
        verbose=False,
    ).close()


def _open(kind: str, model: Path, folder: Path, settings: MonthSettings) -> Assistant:
    sampling = {
        "temperature": settings.temperature,
        "max_tokens": settings.max_tokens,
        "seed": 0,
    }
    return Assistant(
        model,
        store=None if kind == PLAIN else folder / f"{kind}.db",
        keep=kind == KEPT,
        memory_tokens=0,  # recalled texts would differ, and so the prompts
        sampling=sampling,
        kv_folder=folder / "kv",
        drafting=_DRAFTING[kind],
        n_ctx=settings.n_ctx,
        n_threads=settings.threads,
        n_gpu_layers=0,
    )


def _hold(
    session: Session, assistants: Mapping[str, Assistant], progress: Callable[[int], None]
) -> list[DayFigures]:
    order = random.Random(session.day)
    sums = {kind: [0, 0.0, 0, 0] for kind in assistants}  # tokens, seconds, steps, identical
    for text in session.turns:
        said: dict[str, str] = {}
        for kind in order.sample(list(assistants), len(assistants)):
            assistant = assistants[kind]
            said[kind] = "".join(assistant.ask(text))
            stats = assistant.stats
            sums[kind][0] += stats.steps + stats.accepted
            sums[kind][1] += stats.seconds
            sums[kind][2] += stats.steps
            progress(1)
        for kind, assistant in assistants.items():
            sums[kind][3] += said[kind] == said[PLAIN]
            # All continue with the same answer, so that all get the same next prompt.
            assistant.messages[-1] = Message("assistant", said[PLAIN])
    return [
        DayFigures(
            session.day,
            session.topic,
            kind,
            len(session.turns),
            int(tokens),
            seconds,
            tokens / steps if steps else 1.0,
            int(identical),
        )
        for kind, (tokens, seconds, steps, identical) in sums.items()
    ]


def speedups(result: Mapping[str, Any], kind: str) -> list[float]:
    """Compute the speed of one kind of assistant in units of plain decoding, day by day."""
    speed = {
        (row["day"], row["kind"]): row["tokens"] / row["seconds"] if row["seconds"] else 0.0
        for row in result["rows"]
    }
    days = sorted({row["day"] for row in result["rows"]})
    return [speed[day, kind] / speed[day, PLAIN] if speed[day, PLAIN] else 1.0 for day in days]
