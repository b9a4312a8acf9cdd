"""Dialogs from prompt files of two kinds: Spec-Bench's, and recorded runs of agents.

A line of Spec-Bench is a JSON object with question_id, category and turns. A line of the other kind
has `messages`, each with a role and a content; it becomes a dialog with one turn.

Knows the prompt files of the benchmarks. Does not know models, nor what is measured.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

from aded_edge.errors import BenchError

ALL_CATEGORIES = "all"
"""Name of the row in a result that sums up the dialogs of every category."""

AGENT = "agent"
"""Category of the dialogs that are made of agent runs."""

Message = dict[str, str]
"""One message: "role" and "content"."""

_CHARACTERS = 16
"""More characters than any text has per token."""


@dataclass(frozen=True)
class Dialog:
    """One dialog: the user's side of it, turn by turn.

    Attributes:
        id, category: of the line.
        turns: the user's messages.
        before: messages before the first turn; only agent runs have some.
    """

    id: str
    category: str
    turns: tuple[str, ...]
    before: tuple[Message, ...] = ()


def load_dialogs(paths: Path | Sequence[Path], limit: int | None = None) -> list[Dialog]:
    """Read prompt files, one JSON object per line.

    Args:
        paths: the files.
        limit: number of dialogs to return, taken from the categories in turn, so that a short run
            covers all of them. None returns every dialog, in the same mixed order.

    Raises:
        BenchError: a file cannot be read, is empty, or contains a line that is not a dialog.
    """
    dialogs = [d for path in ([paths] if isinstance(paths, Path) else paths) for d in _read(path)]
    categories: dict[str, list[Dialog]] = {}
    for dialog in dialogs:
        categories.setdefault(dialog.category, []).append(dialog)
    mixed = [d for d in chain.from_iterable(zip_longest(*categories.values())) if d is not None]
    return mixed[:limit]


def load_runs(path: Path) -> list[tuple[str, list[Message]]]:
    """Read a file of agent runs; return the name and all messages of each.

    Raises:
        BenchError: the file cannot be read, is empty, or contains a line that is not a run.
    """
    return [_run(path, number, line) for number, line in _lines(path)]


def shortened(dialog: Dialog, most: int, count: Callable[[list[Message]], int]) -> Dialog:
    """Cut an agent run so that its prompt has up to `most` tokens, about as many as that.

    Messages are kept whole from the beginning; the one that does not fit any more is cut. The
    prompt ends with a user's message, so one of the assistant at the end is dropped.

    Args:
        dialog: a dialog with messages before its turn; another one is returned as it is.
        most: bound of the prompt's tokens.
        count: returns the tokens of a prompt; may raise ValueError where the chat template refuses
            messages. Then the system's message becomes part of the user's first.

    Raises:
        BenchError: the chat template refuses the messages.
    """
    if not dialog.before:
        return dialog
    messages = [*dialog.before, {"role": "user", "content": dialog.turns[0]}]
    try:
        try:
            count(messages[:2])
        except ValueError:
            messages = _merged([{**messages[0], "role": "user"}, *messages[1:]])
        low, high = 1, sum(len(message["content"]) for message in messages)
        high = min(high, most * _CHARACTERS)
        while low < high:  # the most characters that fit
            middle = (low + high + 1) // 2
            if count(_head(messages, middle)) <= most:
                low = middle
            else:
                high = middle - 1
        kept = _head(messages, low)
    except ValueError as error:
        raise BenchError(
            f"the model's chat template refuses the agent run {dialog.id}: {error}; leave its file "
            "out, or use another model"
        ) from error
    return replace(dialog, before=tuple(kept[:-1]), turns=(kept[-1]["content"],))


def _head(messages: list[Message], characters: int) -> list[Message]:
    """Return the messages' first characters, up to a user's message."""
    kept: list[Message] = []
    for message in messages:
        if characters <= 0:
            break
        kept.append({**message, "content": message["content"][:characters]})
        characters -= len(message["content"])
    while len(kept) > 1 and kept[-1]["role"] != "user":
        kept.pop()
    return kept


def _merged(messages: list[Message]) -> list[Message]:
    """Join neighbours of the same role, which many chat templates refuse."""
    merged: list[Message] = []
    for message in messages:
        if merged and merged[-1]["role"] == message["role"]:
            joined = merged[-1]["content"] + "\n\n" + message["content"]
            merged[-1] = {**message, "content": joined}
        else:
            merged.append(message)
    return merged


def _read(path: Path) -> list[Dialog]:
    return [_parse(path, number, line) for number, line in _lines(path)]


def _lines(path: Path) -> list[tuple[int, str]]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BenchError(f"cannot read prompts from {path}: {error}") from error
    found = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not found:
        raise BenchError(f"{path} contains no dialogs; write one JSON object per line")
    return found


def _parse(path: Path, number: int, line: str) -> Dialog:
    try:
        row = json.loads(line)
        if "messages" in row:
            return _agent_run(str(row.get("id", number)), row["messages"])
        turns = tuple(row["turns"])
        if not turns or not all(isinstance(turn, str) for turn in turns):
            raise ValueError("turns must be a list of strings")
        return Dialog(str(row.get("question_id", number)), str(row.get("category", "none")), turns)
    except (ValueError, KeyError, TypeError) as error:
        raise BenchError(
            f"{path}, line {number} is not a dialog ({error}); write a JSON object with "
            "question_id, category and turns, or one with messages"
        ) from error


def _run(path: Path, number: int, line: str) -> tuple[str, list[Message]]:
    try:
        row = json.loads(line)
        return str(row.get("id", number)), _messages(row["messages"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BenchError(
            f"{path}, line {number} is not an agent run ({error}); write a JSON object with "
            "messages, each with a role and a content"
        ) from error


def _messages(rows: list[Any]) -> list[Message]:
    messages = []
    for row in rows:
        role, content = row["role"], row.get("content") or ""
        if not isinstance(content, str):
            raise ValueError("the content of a message must be a string")
        # Results of tools come as the user's messages, which every chat template knows.
        known = role if role in {"system", "assistant"} else "user"
        messages.append({"role": known, "content": content})
    return _merged([message for message in messages if message["content"]])


def _agent_run(name: str, rows: list[Any]) -> Dialog:
    messages = _messages(rows)
    while messages and messages[-1]["role"] != "user":
        messages.pop()
    if not messages[:-1]:
        raise ValueError("an agent run needs a user's message and one before it")
    return Dialog(name, AGENT, (messages[-1]["content"],), tuple(messages[:-1]))
