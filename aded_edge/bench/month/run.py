"""A month with the assistant: does it get faster on a user's own topics?

30 sessions over recurring topics, each in a new conversation on the same store, by an `Assistant`
as its users have it, opened anew each day so that all it knows comes from the disk. The same
conversations, with the same answers before each question, are held with plain decoding and with a
matrix that is empty every day, turn by turn in a random order, so that the machine's drift hits all
alike.

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
from aded_edge.bench.speed.run import machine
from aded_edge.errors import BenchError
from aded_edge.runtime.llama import Llama
from aded_edge.runtime.options import Drafting
from aded_edge.store import Message

KEPT, COLD, PLAIN = "kept", "cold", "plain"
"""A matrix that is kept from day to day; one that is empty every day; and no drafts at all."""

_DRAFTING: Mapping[str, Drafting] = {KEPT: "auto", COLD: "auto", PLAIN: "off"}


@dataclass(frozen=True)
class Session:
    """What the user says on one day."""

    day: int
    topic: str
    turns: tuple[str, ...]


@dataclass(frozen=True)
class Answered:
    """One day's answers of one kind of assistant.

    Attributes:
        tokens: behind the first of each answer.
        seconds: that they took.
        mat: mean accepted tokens per step.
        identical: answers that were those of plain decoding to the letter.
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
    """The sessions of a file, or of the one that the package ships.

    Raises:
        BenchError: the file cannot be read, or has a line that is no session.
    """
    source = path or files("aded_edge.bench.month").joinpath("month.jsonl")
    try:
        rows = [json.loads(line) for line in source.read_text(encoding="utf-8").splitlines()]
        return [Session(int(row["day"]), str(row["topic"]), tuple(row["turns"])) for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BenchError(
            f"{source} holds no sessions ({error}); needed are day, topic and turns, one JSON "
            "object a line"
        ) from error


def run(
    model: Path,
    days: Sequence[Session],
    *,
    max_tokens: int,
    threads: int,
    ctx: int,
    temperature: float = 0.0,
    progress: Callable[[int], None] = lambda answers: None,
) -> dict[str, Any]:
    """Holds all sessions; returns conditions and figures, ready for JSON.

    Raises:
        ModelError: the model cannot be loaded.
    """
    rows: list[Answered] = []
    with tempfile.TemporaryDirectory(prefix="aded-edge-month-") as name:
        folder = Path(name)
        # The cold ones know what evaluations cost, and nothing else; so that is measured here.
        store = folder / f"{COLD}.db"
        Llama(
            model, store=store, n_ctx=ctx, n_threads=threads, n_threads_batch=threads, verbose=False
        ).close()
        for session in days:
            with ExitStack() as stack:
                kinds = {
                    kind: stack.enter_context(
                        _open(kind, model, folder, max_tokens, threads, ctx, temperature)
                    )
                    for kind in _DRAFTING
                }
                rows += _hold(session, kinds, progress)
    return {
        "conditions": machine(model),
        "settings": {
            "max_tokens": max_tokens,
            "threads": threads,
            "n_ctx": ctx,
            "temperature": temperature,
        },
        "rows": [asdict(row) for row in rows],
    }


def _open(
    kind: str,
    model: Path,
    folder: Path,
    max_tokens: int,
    threads: int,
    ctx: int,
    temperature: float,
) -> Assistant:
    sampling = {"temperature": temperature, "max_tokens": max_tokens, "seed": 0}
    return Assistant(
        model,
        store=None if kind == PLAIN else folder / f"{kind}.db",
        keep=kind == KEPT,
        memory_tokens=0,  # what is recalled would differ: the questions must be the same
        sampling=sampling,
        kv_folder=folder / "kv",
        drafting=_DRAFTING[kind],
        n_ctx=ctx,
        n_threads=threads,
        n_gpu_layers=0,
    )


def _hold(
    session: Session, kinds: Mapping[str, Assistant], progress: Callable[[int], None]
) -> list[Answered]:
    order = random.Random(session.day)
    sums = {kind: [0, 0.0, 0, 0] for kind in kinds}  # tokens, seconds, steps, identical
    for text in session.turns:
        said: dict[str, str] = {}
        for kind in order.sample(list(kinds), len(kinds)):
            assistant = kinds[kind]
            said[kind] = "".join(assistant.ask(text))
            stats = assistant.stats
            sums[kind][0] += stats.steps + stats.accepted
            sums[kind][1] += stats.seconds
            sums[kind][2] += stats.steps
            progress(1)
        for kind, assistant in kinds.items():
            sums[kind][3] += said[kind] == said[PLAIN]
            # All go on with the same answer, or they would not be asked the same.
            assistant.messages[-1] = Message("assistant", said[PLAIN])
    return [
        Answered(
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
    """Tokens per second over plain decoding, day by day."""
    speed = {
        (row["day"], row["kind"]): row["tokens"] / row["seconds"] if row["seconds"] else 0.0
        for row in result["rows"]
    }
    days = sorted({row["day"] for row in result["rows"]})
    return [speed[day, kind] / speed[day, PLAIN] if speed[day, PLAIN] else 1.0 for day in days]
