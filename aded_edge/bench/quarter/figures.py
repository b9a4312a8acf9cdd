"""Figures of a quarter: the times with each store, summed up over groups of answers.

Knows the rows of a result. Does not know how they are measured, printed or drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from aded_edge.bench.sessions import week_of

from .run import EMPTY

Group = TypeVar("Group", bound=Hashable)

MONTH = 4
"""Weeks of the last month."""


@dataclass
class Sums:
    """Sums over the answers of a group with one store.

    Attributes:
        answers, tokens: counts.
        answer: seconds from the questions to the ends of the answers.
        first: seconds to the first pieces.
        plain: seconds of the generations without drafts, by the measured costs.
    """

    answers: int = 0
    tokens: int = 0
    answer: float = 0.0
    first: float = 0.0
    plain: float = 0.0

    @property
    def generation(self) -> float:
        """Seconds from the first pieces to the ends."""
        return self.answer - self.first

    def add(self, row: Mapping[str, Any]) -> None:
        """Add an answer."""
        self.answers += 1
        for name in ("tokens", "answer", "first", "plain"):
            setattr(self, name, getattr(self, name) + row[name])


TIMES = ("answer", "first", "generation")
"""The times of `Sums` that are compared."""


def sums(
    result: Mapping[str, Any], group: Callable[[Mapping[str, Any]], Group | None]
) -> dict[Group, dict[str, Sums]]:
    """Sum up the answers that all stores gave, without the sessions that are `unsure`.

    Args:
        result: as `run` returns it.
        group: a row's group; rows whose group is None are left out.

    Returns:
        Group -> store -> sums, groups in the order of their first row.
    """
    stores: dict[str, set[str]] = {}
    for row in result["rows"]:
        stores.setdefault(row["session"], set()).add(row["store"])
    every = set().union(*stores.values())
    unsure = {*result["unsure"], *(name for name, held in stores.items() if held != every)}
    found: dict[Group, dict[str, Sums]] = {}
    for row in result["rows"]:
        place = group(row)
        if place is not None and row["session"] not in unsure:
            found.setdefault(place, {}).setdefault(row["store"], Sums()).add(row)
    return found


def by_week(result: Mapping[str, Any]) -> dict[int, dict[str, Sums]]:
    """Return week -> store -> sums."""
    return dict(sorted(sums(result, lambda row: week_of(row["day"])).items()))


def last_month(result: Mapping[str, Any]) -> dict[str, Sums]:
    """Return store -> sums of the last four weeks."""
    last = max((week_of(row["day"]) for row in result["rows"]), default=0)
    return sums(result, lambda row: week_of(row["day"]) > last - MONTH or None).get(True, {})


def by_kind(result: Mapping[str, Any]) -> dict[str, dict[str, Sums]]:
    """Return kind of session -> store -> sums."""
    return sums(result, lambda row: str(row["kind"]))


def by_repetition(result: Mapping[str, Any]) -> dict[str, dict[str, Sums]]:
    """Return "repeated" or "new" -> store -> sums: whether the answer's task was there before."""
    first: dict[str, tuple[str, int]] = {}
    for row in result["rows"]:
        if row["task"] is not None:
            first.setdefault(row["task"], (row["session"], row["turn"]))

    def group(row: Mapping[str, Any]) -> str:
        known = row["task"] is not None and first[row["task"]] != (row["session"], row["turn"])
        return "repeated" if known else "new"

    return sums(result, group)


def times_as_fast(stores: Mapping[str, Sums], store: str, time: str = "answer") -> float:
    """Return how many times as fast as with an empty store one of the TIMES is; 1 if unknown."""
    with_store, without = (getattr(stores[name], time) for name in (store, EMPTY))
    return float(without / with_store) if with_store > 0 else 1.0
