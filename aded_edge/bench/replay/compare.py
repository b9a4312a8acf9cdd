"""Many machines and many drafters on the same answers: the figures of the table.

A trace has one temperature. Traces of one temperature are the visits, in the order in which they
are given: at temperature 0.8 a second visit is recorded with another seed, because a model hardly
ever draws the same answer again. The last one is repeated for further visits.

Knows traces, cost curves and drafters. Does not know options, nor how a table looks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from aded_edge.bench.dialogs import ALL_CATEGORIES
from aded_edge.draft.drafter import PaperDrafter
from aded_edge.errors import BenchError

from .curves import Curve
from .peers import NgramMod, NgramSimple, Peer, PromptLookup, visit
from .run import Replay, Tally
from .trace import Trace, Turn

AUTO = "auto"
"""Our drafter, with the options that were given."""

PAPER = "paper"
"""ADED's search and its tree of 64 nodes, evaluated whole."""

PEERS: dict[str, Callable[[], Peer]] = {
    "lookup-2": lambda: PromptLookup(2),
    "lookup-10": PromptLookup,
    "ngram-simple": NgramSimple,
    "ngram-mod": NgramMod,
}
"""The drafters of other programs, by the names that `bench speed` gives them."""

POLICIES = (AUTO, *PEERS, PAPER)
"""All drafters, in the order of the table."""


@dataclass(frozen=True)
class Row:
    """One machine on one visit.

    Attributes:
        temperature: of the answers.
        visit: from 1 on.
        curve: the machine.
        tallies: figures of AUTO by category.
        speeds: drafter -> predicted speed in units of plain decoding.
    """

    temperature: float
    visit: int
    curve: Curve
    tallies: dict[str, Tally]
    speeds: dict[str, float]

    def behind(self) -> Iterator[str]:
        """Yield the drafters that are faster than AUTO, by more than rounding to 0.01 hides."""
        for name, speed in self.speeds.items():
            if round(speed, 2) > round(self.speeds[AUTO], 2):
                yield name


def visits_of(traces: Sequence[Trace], visits: int) -> dict[float, list[Trace]]:
    """Sort traces by temperature.

    Returns:
        Temperature -> the trace of each visit.

    Raises:
        BenchError: the traces are of several models, or those of one temperature are of other
            prompts, have the same seed, or are more than the visits.
    """
    groups: dict[float, list[Trace]] = {}
    for trace in traces:
        if trace.conditions["fingerprint"] != traces[0].conditions["fingerprint"]:
            raise BenchError("the traces were recorded with several models; replay them apart")
        groups.setdefault(float(trace.conditions["temperature"]), []).append(trace)
    for temperature, group in groups.items():
        seeds = [trace.conditions["seed"] for trace in group]
        if len({trace.conditions["prompts"] for trace in group}) > 1 or len({*seeds}) < len(seeds):
            raise BenchError(
                f"two traces at temperature {temperature} must be of the same prompts and have "
                "different seeds: the second one is the second visit"
            )
        if len(group) > visits:
            raise BenchError(
                f"{len(group)} traces at temperature {temperature} need --visits {len(group)}"
            )
        group += [group[-1]] * (visits - len(group))
    return groups


def compare(
    rounds: dict[float, list[Trace]],
    curves: Sequence[Curve],
    ours: Callable[[Curve], Replay],
    warm: Sequence[Trace] = (),
    tick: Callable[[], object] = lambda: None,
) -> list[Row]:
    """Replay all visits with every drafter.

    Args:
        rounds: as `visits_of` returns them.
        curves: the machines.
        ours: makes AUTO for a machine.
        warm: traces that every drafter answers before the first visit.
        tick: called behind every answer of a visit or a warm trace by one drafter.
    """
    rows = []
    for temperature, visits in rounds.items():
        traces = [*warm, *visits]
        peers = {name: _peer(make(), traces, tick) for name, make in PEERS.items()}
        peers[PAPER] = [t[ALL_CATEGORIES] for t in _replayed(_paper(), traces, tick)]
        for curve in curves:
            mine = _replayed(ours(curve), traces, tick)
            for n in range(len(warm), len(traces)):
                speeds = {AUTO: mine[n][ALL_CATEGORIES].speedup}
                speeds |= {name: _speed(found[n], curve) for name, found in peers.items()}
                rows.append(Row(temperature, n - len(warm) + 1, curve, mine[n], speeds))
    return rows


def _paper() -> Replay:
    return Replay(PaperDrafter(), Curve({1: 1.0}), fixed=True)  # it ignores what a width costs


def _replayed(
    replay: Replay, traces: Sequence[Trace], tick: Callable[[], object]
) -> list[dict[str, Tally]]:
    return [replay.visit(_ticking(trace.turns, tick)) for trace in traces]


def _peer(peer: Peer, traces: Sequence[Trace], tick: Callable[[], object]) -> list[Tally]:
    return [
        visit(peer, _ticking(trace.turns, tick), trace.conditions["max_tokens"]) for trace in traces
    ]


def _ticking(turns: Sequence[Turn], tick: Callable[[], object]) -> Iterator[Turn]:
    for turn in turns:
        yield turn
        tick()


def _speed(tally: Tally, curve: Curve) -> float:
    cost = curve.total(tally.widths)
    return tally.tokens * curve.cost(1) / cost if cost else 1.0
