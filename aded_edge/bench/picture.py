"""Pictures of the speed benchmark: ratios by category and decoder, one panel per visit.

Knows the results that `speed` writes. Does not know how they were measured.
"""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

from aded_edge.errors import BenchError
from aded_edge.files import check_picture, save_picture

from .dialogs import ALL_CATEGORIES
from .speed.decoders import AUTO, PLAIN
from .speed.summary import describe_conditions

COLOURS = {
    AUTO: "#0072B2",
    "exact": "#00305A",
    "lookup-10": "#E69F00",
    "lookup-2": "#F0E442",
    "paper": "#CC79A7",
    "off": "#BBBBBB",
    "server": "#7F7F7F",
    "ngram-simple": "#56B4E9",
    "ngram-map-k": "#009E73",
    "ngram-mod": "#D55E00",
    "ngram-cache": "#8C6D31",
}
"""Mostly the palette of Okabe and Ito, which colour-blind readers can tell apart."""


def draw_files(paths: list[Path], png: Path) -> None:
    """Draw results from the JSON files that the speed benchmark wrote.

    Raises:
        BenchError: a file is not a result, matplotlib is missing, or the picture cannot be
            written.
    """
    check_picture(png)
    draw([_load(path) for path in paths], png)


def draw(results: list[dict[str, Any]], png: Path) -> None:
    """Draw one panel per result and visit.

    Raises:
        BenchError: the results contain no decoder besides llama_cpp.Llama, or the picture cannot
            be written.
    """
    from matplotlib.figure import Figure

    panels = [
        (result, visit, rows)
        for result in results
        for visit in result["stores"]
        if (rows := _rows(result, visit))
    ]
    if not panels:
        raise BenchError(
            "there is nothing to draw: no decoder was compared with llama_cpp.Llama; name another "
            "one in --decoders"
        )
    # pyplot would look for a screen, a bare Figure does not.
    figure = Figure(figsize=(14, 1.2 + 4.2 * len(panels)), layout="constrained")
    axes = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
    for axis, (result, visit, rows) in zip(axes, panels, strict=True):
        _panel(axis, rows)
        model = result["conditions"]["model"]
        axis.set_title(f"{model}: {visit}, {result['stores'][visit]} store", loc="left")
    names = dict.fromkeys(row["decoder"] for _, _, rows in panels for row in rows)
    handles = [_patch(name) for name in names]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(names), frameon=False)
    figure.suptitle(_title(results), fontsize=9, x=0.01, ha="left")
    save_picture(figure, png, dpi=110)


def _panel(axis: Any, rows: list[dict[str, Any]]) -> None:
    names = list(dict.fromkeys(row["decoder"] for row in rows))
    categories = list(dict.fromkeys(row["category"] for row in rows))
    width = 0.84 / len(names)
    for row in rows:
        place = categories.index(row["category"])
        x = place + (names.index(row["decoder"]) - (len(names) - 1) / 2) * width
        ours = row["decoder"] == AUTO
        axis.bar(x, row["answer"], 0.92 * width, **_look(row["decoder"]))
        axis.vlines(x, *row["answer_quartiles"], color="black", linewidth=1.2, zorder=3)
        axis.plot(x, row["answer_median"], "o", color="black", markersize=2.5, zorder=3)
        axis.plot(x, row["generation"], "D", color="white", markeredgecolor="black", markersize=4)
        if ours:
            top = max(row["answer"], row["answer_quartiles"][1], row["generation"])
            axis.annotate(
                f"{row['answer']:.2f}", (x, top), (0, 4), textcoords="offset points",
                ha="center", fontsize=8, fontweight="bold",
            )  # fmt: skip
    axis.axhline(1.0, color="black", linewidth=1, linestyle="--", zorder=2)
    axis.set_xticks(range(len(categories)), categories)
    axis.set_xlim(-0.5, len(categories) - 0.5)
    axis.set_ylim(bottom=0)
    axis.set_ylabel("times as fast as llama_cpp.Llama")
    axis.grid(axis="y", color="#DDDDDD", linewidth=0.6)
    axis.set_axisbelow(True)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)


def _rows(result: dict[str, Any], visit: str) -> list[dict[str, Any]]:
    rows = [
        row
        for row in result["summary"]
        if f"visit {row['visit']}" == visit and row["decoder"] != PLAIN
    ]
    return sorted(rows, key=lambda row: row["category"] != ALL_CATEGORIES)  # whole run first


def _look(name: str) -> dict[str, Any]:
    return {"facecolor": COLOURS.get(name, "#444444"), "edgecolor": "white", "linewidth": 0.4}


def _patch(name: str) -> Any:
    from matplotlib.patches import Patch

    return Patch(label=name, **_look(name))


def _title(results: list[dict[str, Any]]) -> str:
    lines = [*map(describe_conditions, results)]
    lines.append(
        "Bars: from the question to the end of the answer, ratio of the times of all turns. "
        "Lines and dots: quartiles and median. Diamonds: generation alone."
    )
    return "\n".join(textwrap.fill(line, 170, break_on_hyphens=False) for line in lines)


def _load(path: Path) -> dict[str, Any]:
    try:
        result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        for name in ("settings", "conditions", "stores", "summary"):
            result[name]
        for row in result["summary"]:
            row["answer"], row["generation"]  # results of earlier versions have neither
        return result
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BenchError(
            f"{path} is not a result of the speed benchmark ({error}); make one with "
            "python -m aded_edge bench MODEL --json"
        ) from error
