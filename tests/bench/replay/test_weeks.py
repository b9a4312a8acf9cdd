"""Replay by week: a kept store knows what is repeated, an empty one only its own session."""

from dataclasses import replace

import pytest

from aded_edge.bench.replay.curves import Curve
from aded_edge.bench.replay.trace import Trace
from aded_edge.bench.replay.weeks import (
    EMPTY,
    KEPT,
    OTHER,
    check_sessions,
    read_by_week,
    replay_weeks,
)
from aded_edge.errors import BenchError
from tests.bench.replay.drafters import fresh
from tests.bench.replay.traces import trace

FLAT = Curve({1: 1.0, 64: 1.1}, "flat")


def sessions(days, seed=0):
    """Three answers a day; the days repeat one another."""
    turns = trace(answers=3, seed=seed).turns
    named = [replace(turn, dialog=f"{day}.1", turn=n) for day in days for n, turn in
             enumerate(turns)]  # fmt: skip
    return Trace(trace().conditions, named)


def test_the_kept_store_gains_what_was_said_before():
    ticks = []
    other = sessions((1,), seed=5)
    rows = list(
        replay_weeks(
            sessions((1, 8)), other, [FLAT], lambda curve: fresh(), lambda: ticks.append(1)
        )
    )
    assert len(ticks) == 6
    found = {(row.store, row.week): row.tally for row in rows}
    assert set(found) == {(store, week) for store in (KEPT, EMPTY, OTHER) for week in (1, 2)}
    assert found[KEPT, 1].steps == found[EMPTY, 1].steps
    assert found[EMPTY, 2].steps == found[EMPTY, 1].steps, "each session begins with nothing"
    assert found[KEPT, 2].steps < 0.6 * found[EMPTY, 2].steps
    assert found[OTHER, 1].steps != found[EMPTY, 1].steps
    assert {tally.tokens for tally in found.values()} == {found[KEPT, 1].tokens}


def test_prompts_that_were_read_before_are_not_counted_as_read():
    first, second = read_by_week(sessions((1, 8)))
    assert first.kept == first.empty <= first.tokens
    assert second.empty == first.empty
    assert second.kept == 3, "the last token of every prompt is evaluated again"


def test_a_trace_of_other_dialogs_has_no_days():
    with pytest.raises(BenchError, match="--prompts quarter"):
        check_sessions(trace())
    check_sessions(sessions((1,)))
