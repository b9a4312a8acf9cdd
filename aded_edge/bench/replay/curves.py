"""Cost curves: what an evaluation of n rows costs, on machines that people published or measured.

`machines.json` has the published curves, relative to one row, each with its source: issues and pull
requests of llama.cpp and ik_llama.cpp by their numbers, or who measured it. Their authors timed few
widths. A width between two of them costs what a straight line between them says. Beyond the widest,
each row costs as much as a row did on average up to there. This agrees with what is known: an RTX
4090 takes 1.43 times as long for 64 rows as for 16 (llama.cpp 7676), by this rule 1.53; an RTX 3090
1.53 times as long for 32 as for 16 (7716), by this rule 1.58; three models on a CPU took at 48 rows
between 0.98 and 1.11 times what the rule says.

Knows names, files and costs. Does not know what is evaluated.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from aded_edge.decode.cost_curve import WIDTHS
from aded_edge.errors import BenchError

MACHINES = "machines"
"""Name of all published curves together."""

MEASURED = "measured"
"""Name of the curve that was measured when a trace was recorded."""

_SLOPES = {"laptop": 0.10, "gpu": 0.01}
"""Curves that are a straight line: cost of each further row, in units of the cost of one row."""

_WIDEST = 4096
"""Widths above this one are refused: no evaluation has so many rows."""

_LEAST = 1e-9
"""Costs below this or above its inverse are refused, because no unit makes them plausible."""

_SHOWN, _LONGEST = 20, 100
"""Characters of a width and of a reason that an error shows."""

_HINT = (
    'write JSON like {"1": 0.010, "2": 0.018, "4": 0.026}, costs by width, or several of them like '
    '{"my machine": {"costs": {"1": 1, "4": 1.5}, "source": "measured today"}}'
)


@dataclass(frozen=True)
class Curve:
    """What an evaluation costs by its width, in any unit.

    Attributes:
        costs: the costs that are known; width 1 is one of them.
        name: of the machine.
        source: who published or measured it.
    """

    costs: Mapping[int, float]
    name: str = ""
    source: str = ""

    def cost(self, width: int) -> float:
        """Return the cost of one evaluation of any width."""
        widest = max(self.costs)
        if width <= widest:
            widths = sorted(self.costs)
            return float(np.interp(width, widths, [self.costs[w] for w in widths]))
        if widest == 1:
            return self.costs[1] * width
        row = (self.costs[widest] - self.costs[1]) / (widest - 1)
        return self.costs[widest] + max(row, 0.0) * (width - widest)

    def total(self, widths: Mapping[int, int]) -> float:
        """Return the cost of many evaluations: width -> how many."""
        return sum(count * self.cost(width) for width, count in widths.items())

    def every(self, most: int = WIDTHS[-1]) -> dict[int, float]:
        """Return width -> cost for all widths up to `most`."""
        return {width: self.cost(width) for width in range(1, most + 1)}

    def measurable(self) -> dict[int, float]:
        """Return width -> cost for the widths that `Llama` would measure, and those that are known.

        The unknown ones are filled in, so a draft may have widths that nobody published.
        """
        return {width: self.cost(width) for width in sorted({*WIDTHS, *self.costs})}


def load_curves(name: str, measured: Mapping[int, float] | None) -> list[Curve]:
    """Look up or read cost curves.

    Args:
        name: "machines" for all published curves, the name of one of them, "measured", "laptop"
            (1 + 0.10 (n - 1) for width n), "gpu" (1 + 0.01 (n - 1)), or the path of a JSON file
            with one curve or several.
        measured: the seconds that a trace holds, None where it holds none.

    Raises:
        BenchError: the file cannot be read, or holds something that is not a cost curve.
    """
    published = _parse(files(__package__).joinpath("machines.json").read_text("utf-8"), MACHINES)
    if name == MACHINES:
        return published
    for curve in published:
        if curve.name == name:
            return [curve]
    if name in _SLOPES:
        line = {width: 1.0 + _SLOPES[name] * (width - 1) for width in WIDTHS}
        return [Curve(line, name, "a straight line")]
    if name == MEASURED:
        if measured is None:
            raise BenchError(
                "--cost measured: a transcript has no measured costs; give --cost machines, "
                "laptop, gpu, the name of a machine or a JSON file"
            )
        return [_curve(MEASURED, measured, "measured when the trace was recorded", MEASURED)]
    try:
        return _parse(Path(name).read_text(encoding="utf-8"), name)
    except OSError as error:
        raise BenchError(
            f"--cost {name!r} is not a readable file; give measured, machines, laptop, gpu, a JSON "
            f"file, or one of {', '.join(curve.name for curve in published)}"
        ) from error
    except UnicodeDecodeError as error:
        raise _refused(name, "it is not UTF-8") from error


def _parse(text: str, place: str) -> list[Curve]:
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _refused(place, f"it is not JSON: {error}") from error
    if not isinstance(rows, dict) or not rows:
        raise _refused(place, "it is not an object with costs")
    if not any(isinstance(row, dict) for row in rows.values()):
        return [_curve(place, rows, place, place)]
    curves = []
    for name, row in rows.items():
        where = f"{place}, {name!r}"
        if not isinstance(row, dict) or not isinstance(row.get("costs"), dict):
            raise _refused(where, 'it has no object "costs"')
        curves.append(_curve(name, row["costs"], str(row.get("source", place)), where))
    return curves


def _curve(name: str, rows: Mapping[Any, Any], source: str, place: str) -> Curve:
    costs: dict[int, float] = {}
    for width, cost in rows.items():
        shown = str(width)[:_SHOWN]
        if not shown.isdecimal() or not 1 <= int(shown) <= _WIDEST:
            raise _refused(place, f"{shown!r} is not a width from 1 to {_WIDEST}")
        if isinstance(cost, bool) or not isinstance(cost, int | float):
            raise _refused(place, f"the cost of width {width} is no number: {cost!r}"[:_LONGEST])
        if not _LEAST < cost < 1 / _LEAST:
            reason = f"the cost of width {width} is not between {_LEAST:g} and {1 / _LEAST:g}"
            raise _refused(place, reason)
        costs[int(width)] = float(cost)
    if 1 not in costs:
        raise _refused(place, "it has no cost of width 1")
    return Curve(costs, name, source)


def _refused(place: str, reason: str) -> BenchError:
    return BenchError(f"{place} is not a cost curve ({reason}); {_HINT}")
