"""Sessions of a user, day by day: the format of `quarter/quarter.jsonl`, and how it is read.

A file has one JSON object per line. A line is a text:

    {"text": "schema", "content": "CREATE TABLE ..."}
    {"text": "late.py@2", "from": "late.py@1", "replace": [["old", "new"], ...]}

or a session, which may name the texts above it:

    {"day": 3, "kind": "edit", "system": ["edit"], "turns": [
        {"attach": ["late.py@1"], "say": "Count begun hours."},
        {"attach": ["late.py@1..late.py@2"], "say": "Commit message?", "task": "commit"}]}

Days count from 1, and lines are in their order. The system message is made of the texts that
`system` names; without any there is none. Attached texts stand in front of what is said, each with
its name up to the @, which begins the number of a version; `a..b` stands for the diff from a to b.
`task` names a task that recurs with other details.

Knows files and texts. Does not know what is done with them.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from aded_edge.errors import BenchError

from .dialogs import Dialog

WEEK = 7
"""Days of a week."""


@dataclass(frozen=True)
class Turn:
    """What the user says at once.

    Attributes:
        text: with the attached texts in front.
        task: the recurring task, None where there is none.
    """

    text: str
    task: str | None = None


@dataclass(frozen=True)
class Session:
    """The user's side of one conversation.

    Attributes:
        day: from 1 on.
        number: of the session within its day, from 1 on.
        kind: what it is about, like "sql".
        system: the system message, empty for none.
        turns: what the user says.
    """

    day: int
    number: int
    kind: str
    system: str
    turns: tuple[Turn, ...]

    @property
    def id(self) -> str:
        """Day and number, like 12.2; `day_of` reads it."""
        return f"{self.day}.{self.number}"

    def dialog(self) -> Dialog:
        """The session as a dialog that can be recorded."""
        before = ({"role": "system", "content": self.system},) if self.system else ()
        return Dialog(self.id, self.kind, tuple(turn.text for turn in self.turns), before)


def day_of(name: str) -> int:
    """Return the day in a session's `id`.

    Raises:
        ValueError: the name is of another kind.
    """
    day, number = name.split(".")
    int(number)
    return int(day)


def week_of(day: int) -> int:
    """Return the week of a day; both count from 1."""
    return (day - 1) // WEEK + 1


PACKAGED = ("quarter", "other")
"""The files in the package: a user's quarter, and the sessions of another user."""


def packaged(name: str) -> Path:
    """Return the path of one of the files in the package."""
    return Path(str(files("aded_edge.bench") / "quarter" / f"{name}.jsonl"))


def load_sessions(path: Path) -> list[Session]:
    """Read a file of sessions.

    Raises:
        BenchError: the file cannot be read, holds no session, or a line is neither a text nor a
            session.
    """
    texts: dict[str, str] = {}
    found: list[Session] = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BenchError(f"cannot read sessions from {path}: {error}; check it") from error
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            if "text" in row:
                texts[str(row["text"])] = _text(row, texts)
            else:
                found.append(_session(row, texts, found))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BenchError(
                f"{path}, line {number} is not a text or a session ({error!r:.200}); its format is "
                "described in aded_edge/bench/sessions.py"
            ) from error
    if not found:
        raise BenchError(f"{path} has no sessions; write one JSON object per line")
    return found


def _text(row: Mapping[str, Any], texts: Mapping[str, str]) -> str:
    if "from" not in row:
        return str(row["content"])
    text = texts[row["from"]]
    for old, new in row["replace"]:
        if text.count(old) != 1:
            raise ValueError(f"{row['from']} has {old!r} {text.count(old)} times, not once")
        text = text.replace(old, new)
    return text


def _session(row: Mapping[str, Any], texts: Mapping[str, str], found: Sequence[Session]) -> Session:
    day = int(row["day"])
    last = found[-1].day if found else 1
    if day < last:
        raise ValueError(f"day {day} comes after day {last}")
    number = sum(session.day == day for session in found) + 1
    system = "\n".join(texts[name].strip() for name in row.get("system", ()))
    turns = tuple(_turn(turn, texts) for turn in row["turns"])
    if not turns:
        raise ValueError("it has no turns")
    return Session(day, number, str(row["kind"]), system, turns)


def _turn(row: Mapping[str, Any], texts: Mapping[str, str]) -> Turn:
    parts = [_attached(name, texts) for name in row.get("attach", ())]
    return Turn("\n\n".join([*parts, str(row["say"])]), row.get("task"))


def _attached(name: str, texts: Mapping[str, str]) -> str:
    before, dots, after = name.partition("..")
    title = before.partition("@")[0]
    if not dots:
        return f"{title}:\n```\n{texts[name].rstrip()}\n```"
    old, new = texts[before].splitlines(), texts[after].splitlines()
    diff = difflib.unified_diff(old, new, f"a/{title}", f"b/{title}", lineterm="")
    return "\n".join(["```diff", *diff, "```"])
