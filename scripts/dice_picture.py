#!/usr/bin/env python3
"""Draws docs/dice.png from docs/dice.json: scripts/dice_picture.py

On the left, how often the likeliest candidate was drawn, by the coming uniform number. On the
right, what drafts would gain on each machine. Knows the JSON. Does not know how it was measured.
"""

from __future__ import annotations

import json
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from aded_edge.files import check_picture, save_picture

DOCS = Path(__file__).resolve().parent.parent / "docs"

TAG = "temperature 0.8"
"""The answers that are shown; the page has the others."""

KINDS = {
    "merge": ("dice in the calibration", "#0072B2"),
    "stop": ("only where the dice are high", "#56B4E9"),
    "bound": ("told whether the likeliest token is drawn", "#BBBBBB"),
}

COLOURS = ("#BBBBBB", "#56B4E9", "#0072B2", "#00305A")


def draw_candidates(axis: Any, visits: list[dict[str, Any]]) -> None:
    """Draw the share of drawn candidates by the uniform number, one line a band of estimates."""
    edges = visits[0]["u"]
    middles = [(low + high) / 2 for low, high in pairwise(edges)]
    for i, colour in enumerate(COLOURS):
        bands = [visit["estimates"][i]["by_u"] for visit in visits]
        hits = [sum(s * n for s, n in cell) for cell in zip(*bands, strict=True)]
        counts = [sum(n for _, n in cell) for cell in zip(*bands, strict=True)]
        shares = [hit / count for hit, count in zip(hits, counts, strict=True)]
        estimate = visits[0]["estimates"][i]["estimate"]
        axis.plot(middles, shares, "o-", color=colour, label=f"estimate from {estimate}")
    axis.set(
        title="how often the likeliest candidate is drawn",
        xlabel="the uniform number that will draw it",
        ylim=(0, 1),
        xlim=(0, 1),
    )
    axis.legend(loc="lower left", fontsize=8)


def draw_machines(axis: Any, replays: list[dict[str, Any]]) -> None:
    """Draw the gain on each machine, one group of bars a machine."""
    names = [replay["curve"] for replay in replays if replay["kind"] == "bound"]
    for n, (kind, (label, colour)) in enumerate(KINDS.items()):
        rows = {replay["curve"]: replay for replay in replays if replay["kind"] == kind}
        gains = [100 * (rows[name]["dice"][0] / rows[name]["now"][0] - 1) for name in names]
        places = [place + 0.27 * (n - 1) for place in range(len(names))]
        axis.barh(places, gains, 0.27, color=colour, label=label)
    axis.axvline(0, color="black", linewidth=0.8)
    axis.axvline(8, color="#D55E00", linestyle="--", label="what was asked for: 8 %")
    axis.set(title="gain on a first visit, replayed", xlabel="per cent", xlim=(-1, 14))
    axis.set_yticks(range(len(names)), names, fontsize=8)
    axis.invert_yaxis()
    axis.legend(loc="center right", fontsize=8)


def main() -> None:
    """Draw the picture."""
    from matplotlib.figure import Figure

    measured = json.loads((DOCS / "dice.json").read_text(encoding="utf-8"))
    check_picture(DOCS / "dice.png")
    figure = Figure(figsize=(12, 5), layout="constrained")
    left, right = figure.subplots(1, 2)
    draw_candidates(left, [v for v in measured["candidates"] if v["answers"] == TAG])
    draw_machines(right, [r for r in measured["replays"] if r["answers"] == TAG])
    save_picture(figure, DOCS / "dice.png", dpi=100)


if __name__ == "__main__":
    main()
