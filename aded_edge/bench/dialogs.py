"""Dialogs in the format of Spec-Bench: JSON objects with question_id, category and turns.

Knows the prompt files of the benchmarks. Does not know models, nor what is measured.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path

from aded_edge.errors import BenchError

ALL_CATEGORIES = "all"
"""Name of the row in a result that sums up the dialogs of every category."""


@dataclass(frozen=True)
class Dialog:
    """One dialog: the user's side of it, turn by turn."""

    id: str
    category: str
    turns: tuple[str, ...]


def load_dialogs(path: Path, limit: int | None = None) -> list[Dialog]:
    """Read a prompt file, one JSON object per line.

    Args:
        path: the file.
        limit: number of dialogs to return, taken from the categories in turn, so that a short run
            covers all of them. None returns every dialog, in the same mixed order.

    Raises:
        BenchError: the file cannot be read, is empty, or contains a line that is not a dialog.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BenchError(f"cannot read prompts from {path}: {error}") from error
    dialogs = [_parse(path, number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not dialogs:
        raise BenchError(f"{path} contains no dialogs; write one JSON object per line")
    categories: dict[str, list[Dialog]] = {}
    for dialog in dialogs:
        categories.setdefault(dialog.category, []).append(dialog)
    mixed = [d for d in chain.from_iterable(zip_longest(*categories.values())) if d is not None]
    return mixed[:limit]


def _parse(path: Path, number: int, line: str) -> Dialog:
    try:
        row = json.loads(line)
        turns = tuple(row["turns"])
        if not turns or not all(isinstance(turn, str) for turn in turns):
            raise ValueError("turns must be a list of strings")
        return Dialog(str(row.get("question_id", number)), str(row.get("category", "none")), turns)
    except (ValueError, KeyError, TypeError) as error:
        raise BenchError(
            f"{path}, line {number} is not a dialog ({error}); write a JSON object with "
            "question_id, category and turns"
        ) from error
