"""Figures of a quarter, from rows that nobody measured."""

import pytest

from aded_edge.bench.quarter.figures import (
    by_kind,
    by_repetition,
    by_week,
    last_month,
    times_as_fast,
)
from aded_edge.bench.quarter.run import EMPTY, KEPT, OTHER
from tests.bench.quarter.rows import result


def test_times_are_summed_up_by_week():
    weeks = by_week(result())
    assert [*weeks] == [1, 2, 3, 4, 5, 6]
    first = weeks[1]
    assert (first[EMPTY].answers, first[EMPTY].tokens) == (1, 10)
    assert (first[KEPT].answer, first[KEPT].first, first[KEPT].generation) == (2.0, 0.5, 1.5)
    assert times_as_fast(first, KEPT) == 2.0
    assert times_as_fast(first, KEPT, "first") == 4.0
    assert times_as_fast(first, KEPT, "generation") == pytest.approx(2 / 1.5)
    assert times_as_fast(first, OTHER) == 1.0


def test_the_last_month_is_four_weeks():
    assert last_month(result())[KEPT].answers == 4
    assert last_month(result(days=(1,)))[KEPT].answers == 1
    assert last_month(result(days=())) == {}


def test_tasks_that_were_there_before_are_repeated():
    tasks = by_repetition(result())
    assert tasks["repeated"][EMPTY].answers == 1
    assert tasks["new"][EMPTY].answers == 5
    assert by_kind(result())["chat"][OTHER].answers == 6


def test_sessions_that_are_unsure_or_unfinished_are_left_out():
    made = result(unsure=("8.1",))
    made["rows"] = [r for r in made["rows"] if (r["day"], r["store"]) != (36, OTHER)]
    assert [*by_week(made)] == [1, 3, 4, 5]
    assert all(stores.keys() == {KEPT, EMPTY, OTHER} for stores in by_week(made).values())
