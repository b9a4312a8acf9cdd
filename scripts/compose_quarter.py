"""Compose the quarter of use, aded_edge/bench/quarter/*.jsonl, from the texts in scripts/quarter.

usage: compose_quarter.py

The texts were written by hand: what is asked (a line or a block for each question), documents,
system messages, and files with their changes in the order of the days. This script spreads them
over 13 weeks and writes the format that `aded_edge/bench/sessions.py` describes. The same texts
give the same days. A question that begins with [name] is a recurring task with this name.

Knows the texts. Does not know models.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
TEXTS = HERE / "quarter"
PACKAGE = HERE.parent / "aded_edge" / "bench" / "quarter"

WEEKS, WEEKDAYS, FRIDAY = 13, 5, 5

Row = dict[str, Any]

COMMIT = (
    "Commit message for this diff, please.",
    "This is what I took in the end. Commit message?",
    "The diff, for the commit message:",
    "Now the commit message for this diff.",
)
SHORT_REPORT = (
    "Now the same in five lines, for the board in the staff room. No amounts.",
    "Five lines of that for the board in the staff room, without the amounts.",
    "And the short version for the board: five lines, no money.",
)
AFTER_TRANSLATION = (
    "List the terms of the glossary that you used, one a line, English = German.",
    "A version of it for our page on Instagram, German, at most 50 words.",
    "Back into English in other words, so that I can check it.",
)


def main() -> None:
    """Write both files."""
    rng = random.Random(13)
    pools = [
        [*edits(rng)],
        [*reports(rng)],
        [*translations(rng)],
        [*tools()],
        [*questions("sql", ["sql", "schema"])],
        [*questions("mail", ["mail"])],
        [*questions("chat", ["chat"])],
        [*lookups()],
    ]
    sessions = [session for pool in pools for session in spread(pool, rng)]
    sessions.sort(key=lambda session: session["day"])
    bring_up_to_date(sessions)
    write(PACKAGE / "quarter.jsonl", [*texts(), *sessions])
    write(PACKAGE / "other.jsonl", other())


def bring_up_to_date(sessions: Iterable[Row]) -> None:
    """Attach documents to look up as the edits up to that day left them."""
    latest: dict[str, str] = {}
    for session in sessions:
        for said in session["turns"]:
            names = said.get("attach", [])
            for place, name in enumerate(names):
                if ".." in name:
                    after = name.partition("..")[2]
                    latest[after.partition(".")[0]] = after
                elif session["kind"] == "lookup" and (TEXTS / "files" / f"{name}.md.txt").exists():
                    names[place] = latest.get(name, f"{name}.md@1")


def write(path: Path, rows: Iterable[Row]) -> None:
    """Write one JSON object per line."""
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_text("".join(lines), encoding="utf-8")


def spread(pool: list[Row], rng: random.Random) -> Iterator[Row]:
    """Give every session a day; their order stays."""
    weeks: dict[int, list[Row]] = {}
    for place, session in enumerate(pool):
        weeks.setdefault(place * WEEKS // len(pool), []).append(session)
    for week, sessions in weeks.items():
        days = sorted(rng.sample(range(1, WEEKDAYS + 1), len(sessions)))
        for day, session in zip(days, sessions, strict=True):
            weekday = FRIDAY if session["kind"] == "report" else day
            yield {"day": 7 * week + weekday, **session}


def texts() -> Iterator[Row]:
    """System messages, documents, and every version of the files."""
    for folder in ("systems", "documents"):
        for path in sorted((TEXTS / folder).iterdir()):
            yield {"text": path.stem, "content": path.read_text(encoding="utf-8")}
    for path in sorted((TEXTS / "files").iterdir()):
        yield {"text": f"{path.stem}@1", "content": path.read_text(encoding="utf-8")}
    for name, version, _, changes in changes_of_files():
        earlier = f"{name}@{version}"
        yield {"text": f"{name}@{version + 1}", "from": earlier, "replace": changes}


def changes_of_files() -> Iterator[tuple[str, int, str, list[list[str]]]]:
    """Yield file, version before the change, request, and pairs of old and new text."""
    versions: dict[str, Iterator[int]] = {}
    for block in read("edits.txt").split("@@ ")[1:]:
        head, *parts = block.split("<<<\n")
        name, _, request = head.partition("\n")
        changes = [part.removesuffix("\n").split("\n===\n") for part in parts]
        changes = [[old, new] for old, new in changes]
        yield name, next(versions.setdefault(name, count(1))), request.strip(), changes


def edits(rng: random.Random) -> Iterator[Row]:
    """A change of a file, and the commit message for it."""
    for name, version, request, _ in changes_of_files():
        before, after = f"{name}@{version}", f"{name}@{version + 1}"
        commit = {"attach": [f"{before}..{after}"], "say": rng.choice(COMMIT), "task": "commit"}
        turns = [{"attach": [before], "say": request}, commit]
        yield {"kind": "edit", "system": ["edit"], "turns": turns}


def reports(rng: random.Random) -> Iterator[Row]:
    """The weekly report, from the notes of the week."""
    for week, notes in enumerate(blocks("reports.txt"), 6):
        yield {
            "kind": "report",
            "system": ["report"],
            "turns": [
                {"say": f"Notes of week {week}: {notes}", "task": "report"},
                {"say": rng.choice(SHORT_REPORT), "task": "short report"},
            ],
        }


def translations(rng: random.Random) -> Iterator[Row]:
    """A notice to be translated, and a question on the translation."""
    for text in notices():
        after = rng.choice(AFTER_TRANSLATION)
        turns = [{"say": text, "task": "translation"}, {"say": after, "task": after}]
        yield {"kind": "translate", "system": ["translate", "glossary"], "turns": turns}


def notices() -> list[str]:
    """Notices begin with a heading, or with "Dear"."""
    return [
        part.strip()
        for part in re.split(r"\n\n(?=# |Dear )", read("translations.txt"))
        if part.strip()
    ]


def tools() -> Iterator[Row]:
    """Requests to the agent at the desk, and what its tools answer."""
    for number, line in enumerate(read("tools.txt").splitlines(), 90501):
        request, customer, what, result = (part.strip() for part in line.split("|"))
        found = re.search(r"(?:for|of|that) ([A-Z]\w+ [A-Z]\w+)|([A-Z]\w+ [A-Z]\w+)'s", request)
        name = next(filter(None, found.groups())) if found else "Paul Degen"
        known = {"id": int(customer), "name": name, "phone": f"+43 664 {customer}0"}
        said = [request, answer("find_customer", {"customers": [known]})]
        if what == "repair":
            said.append(answer("open_repair", {"repair": number, "mechanic": result}))
        elif what == "cancel":
            said[1:] = [answer("cancel", {"refund": float(result)})]
        elif what == "change":
            changed = {
                "booking": int(re.findall(r"booking (\d+)", request)[0]),
                "total": 68.0,
                "difference": float(result),
            }
            said[1:] = [answer("change_booking", changed)]
        else:
            bikes = [{"id": bike, "size": 50 + len(bike) + place} for place, bike in
                     enumerate(what.split())]  # fmt: skip
            said.append(answer("find_bikes", {"bikes": bikes}))
            said.append(answer("book", {"booking": number, "total": float(result)}))
        kind = what if what in ("repair", "cancel", "change") else "book"
        turns = [{"say": text, "task": f"{kind} {step}"} for step, text in enumerate(said, 1)]
        yield {"kind": "tools", "system": ["tools"], "turns": turns}


def answer(tool: str, result: Row) -> str:
    """What the agent is told that a tool answered."""
    return f"Result of {tool}: {json.dumps(result)}"


def questions(kind: str, system: list[str]) -> Iterator[Row]:
    """Sessions of one question a line."""
    for block in blocks(
        f"{'mails' if kind == 'mail' else 'chats' if kind == 'chat' else kind}.txt"
    ):
        turns = [turn(line) for line in block.splitlines()]
        yield {"kind": kind, "system": system, "turns": turns}


def lookups() -> Iterator[Row]:
    """Questions on a document, which is attached to the first one."""
    for block in blocks("lookups.txt"):
        document, *lines = block.splitlines()
        turns = [turn(line) for line in lines]
        turns[0] = {"attach": [document], **turns[0]}
        yield {"kind": "lookup", "system": ["lookup"], "turns": turns}


def turn(line: str) -> Row:
    """A question; [name] in front of it names a recurring task."""
    found = re.match(r"\[(.+?)\] (.+)", line)
    return {"say": found[2], "task": found[1]} if found else {"say": line}


def other() -> Iterator[Row]:
    """The other user: two sessions a day, in the order of the file."""
    known, _, held = read("other.txt").partition("\n= ")
    for part in known.split("% ")[1:]:
        name, _, content = part.partition("\n")
        yield {"text": name, "content": content.strip("\n") + "\n"}
    for place, part in enumerate(f"\n{held}".split("\n= ")):
        head, _, said = part.strip("\n").partition("\n")
        system, kind, *attach = head.split()
        turns: list[Row] = [{"say": text} for text in said.split("\n\n")]
        if attach:
            turns[0] = {"attach": attach, **turns[0]}
        names = [system] if system != "-" else []
        yield {"day": place // 2 + 1, "kind": kind, "system": names, "turns": turns}


def blocks(name: str) -> list[str]:
    """The parts of a file between empty lines."""
    return [block.strip() for block in read(name).split("\n\n") if block.strip()]


def read(name: str) -> str:
    """Read one of the texts."""
    return (TEXTS / name).read_text(encoding="utf-8")


if __name__ == "__main__":
    main()
