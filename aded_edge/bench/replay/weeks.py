"""Replay a user's sessions with three stores, week by week: a kept, an empty and another user's.

Each session is answered by a new process, as `bench quarter` does it: it finds in the store what
the drafter learned before (kept: in all earlier sessions, empty: nothing, other: what another
user's sessions taught), and nothing in the KV cache. Nothing is evaluated, so time to first token
is not known; `read` counts the tokens of prompts that have to be read instead, with and without a
cache of earlier prompts.

Knows traces whose dialogs are sessions, cost curves and drafters. Does not know options.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from aded_edge.arrays import Int32Array
from aded_edge.bench.sessions import day_of, week_of
from aded_edge.draft.drafter import AdaptiveDrafter
from aded_edge.errors import BenchError
from aded_edge.llamacpp.prompt import common_prefix

from .curves import Curve
from .run import Replay, Tally
from .trace import Trace, Turn

KEPT, EMPTY, OTHER = "kept", "empty", "other"
"""The stores, by the names that `bench quarter` gives them."""

STORES = (KEPT, EMPTY, OTHER)


@dataclass(frozen=True)
class Week:
    """One week with one store on one machine."""

    machine: str
    store: str
    week: int
    tally: Tally


@dataclass(frozen=True)
class Read:
    """Tokens of one week's prompts.

    Attributes:
        tokens: of all prompts.
        empty: of these, to be read where only the running session is known.
        kept: to be read where every earlier prompt and answer is known.
    """

    week: int
    tokens: int
    empty: int
    kept: int


def check_sessions(trace: Trace) -> None:
    """Check that a trace was recorded from sessions.

    Raises:
        BenchError: it was not.
    """
    try:
        for turn in trace.turns:
            day_of(turn.dialog)
    except ValueError as error:
        raise BenchError(
            f"the trace of {trace.conditions['prompts']} has no days; record one with python -m "
            "aded_edge bench record MODEL --prompts quarter --out quarter.npz"
        ) from error


def replay_weeks(
    trace: Trace,
    other: Trace,
    curves: Sequence[Curve],
    new: Callable[[Curve], AdaptiveDrafter],
    tick: Callable[[], object] = lambda: None,
) -> Iterator[Week]:
    """Replay the sessions of a trace with each store on each machine.

    Args:
        trace: the user's.
        other: that of the other user.
        curves: the machines.
        new: makes a drafter that knows nothing.
        tick: called after each answer of `trace`.
    """
    for curve in curves:
        taught = new(curve)
        for turns in _sessions(other.turns):
            _process(taught, curve).visit(turns)
        learned = taught.everything()
        kept = new(curve)
        tallies: dict[tuple[str, int], Tally] = {}
        for turns in _sessions(trace.turns):
            lent = new(curve)
            lent.absorb(learned)
            drafters = {KEPT: kept, EMPTY: new(curve), OTHER: lent}
            replays = {store: _process(drafter, curve) for store, drafter in drafters.items()}
            for turn in turns:
                for store, replay in replays.items():
                    week = week_of(day_of(turn.dialog))
                    tallies.setdefault((store, week), Tally()).add(replay.answer(turn))
                tick()
        for (store, week), tally in sorted(tallies.items()):
            yield Week(curve.name, store, week, tally)


def read_by_week(trace: Trace) -> list[Read]:
    """Count the tokens of prompts that have to be read, week by week."""
    counts: dict[int, list[int]] = {}
    texts: list[Int32Array] = []
    dialog, began = None, 0
    for turn in trace.turns:
        if turn.dialog != dialog:
            dialog, began = turn.dialog, len(texts)
        # The last token is always evaluated, as in `Llama`.
        own = max((common_prefix(t, turn.prompt[:-1]) for t in texts[began:]), default=0)
        known = max((common_prefix(t, turn.prompt[:-1]) for t in texts[:began]), default=0)
        length = len(turn.prompt)
        sums = counts.setdefault(week_of(day_of(turn.dialog)), [0, 0, 0])
        for place, tokens in enumerate((length, length - own, length - max(own, known))):
            sums[place] += tokens
        texts.append(np.concatenate((turn.prompt, turn.answer[:-1])))
    return [Read(week, *sums) for week, sums in sorted(counts.items())]


def _sessions(turns: Sequence[Turn]) -> Iterator[list[Turn]]:
    for _, group in groupby(turns, key=lambda turn: turn.dialog):
        yield list(group)


def _process(drafter: AdaptiveDrafter, curve: Curve) -> Replay:
    """A new process: an empty KV cache, and doubts about what was learned before."""
    drafter.calibration.doubt()
    return Replay(drafter, curve)
