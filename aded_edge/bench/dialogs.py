"""Dialogs in the format of Spec-Bench: one JSON object a line with question_id, category, turns.

Knows files. Does not know models, nor what is measured.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path

from aded_edge.errors import BenchError


@dataclass(frozen=True)
class Dialog:
    """One dialog: what the user says, turn by turn."""

    id: str
    category: str
    turns: tuple[str, ...]


def load_dialogs(path: Path, limit: int | None = None) -> list[Dialog]:
    """Reads dialogs; with a limit, takes them from all categories in turn.

    Raises:
        BenchError: the file is missing, empty, or has a line that is no dialog.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BenchError(f"cannot read prompts from {path}: {error}") from error
    dialogs = [_parse(path, number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not dialogs:
        raise BenchError(f"{path} holds no dialogs; one JSON object a line is needed")
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
        return Dialog(str(row.get("question_id", number)), str(row.get("category", "all")), turns)
    except (ValueError, KeyError, TypeError) as error:
        raise BenchError(
            f"{path}, line {number} is no dialog ({error}); needed are question_id, category "
            "and turns"
        ) from error
