"""Imports of conversations, and notes whose files change.

Knows exports and documents. Does not know when a child is killed.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from pathlib import Path

from aded_edge.assistant.documents import name_of, passages, refresh
from aded_edge.assistant.export import Whole, export_file, import_into, read_file
from aded_edge.files import write_whole
from aded_edge.store import Conversation, Message, Store
from tests.faults.children import Entry, Journal
from tests.faults.scenes import Scene, check_numbers, expect, steps, store_in

TOGETHER = 5
"""Conversations in one file that is imported."""

FILES = 12
"""Files in the folder of the notes."""

_NO_IMPORT = 1 << 64
"""The uid of an imported conversation is a smaller number; others are random and larger."""


class Importing(Scene):
    """Files with several conversations are imported, Markdown and JSON in turn."""

    name = "importing"
    writers = 2

    def __init__(self) -> None:
        # uids of imported conversations in which others talk meanwhile: what must be in them is
        # checked by `Talking`.
        self.taken_up: set[str] = set()

    def write(self, journal: Journal, folder: Path, seed: int, until: float) -> None:
        """Write a file, read it, import it."""
        with Store.open(store_in(folder)) as store:
            for number in steps(seed, until):
                uids = [number * TOGETHER + i for i in range(TOGETHER)]
                path = folder / f"import-{seed}{'.md' if number % 2 else '.json'}"
                export_file(path, [_conversation(uid) for uid in uids])
                journal(begin=uids)
                import_into(store, read_file(path))
                journal(done=uids)

    def check(self, folder: Path, journals: Sequence[list[Entry]]) -> None:
        """Every conversation is there once, and whole."""
        if not store_in(folder).exists():
            return
        with Store.open(store_in(folder)) as store:
            everything = store.conversations.recent(10**6)
            kept = [c for c in everything if int(c.uid, 16) < _NO_IMPORT]
            check_numbers(self.name, [int(c.uid, 16) for c in kept], journals)
            for one in kept:
                found = [(m.role, m.content) for m in store.conversations.messages(one)]
                made = [(m.role, m.content) for m in _conversation(int(one.uid, 16))[1]]
                whole = found == made or one.uid in self.taken_up
                expect(whole, f"{self.name}: {one.uid} is not whole: {found}")


class Noting(Scene):
    """The files of a folder change, and the notes are refreshed.

    Args:
        alone: no other process refreshes them. A chat does: it may read a file, wait for the lock,
            and write an older state than that of the last refresh. The next refresh repairs it.
    """

    name = "notes"

    def __init__(self, alone: bool = True) -> None:
        self._alone = alone

    def write(self, journal: Journal, folder: Path, seed: int, until: float) -> None:
        """Change one file or two, and refresh."""
        rng, docs = random.Random(seed), folder / "docs"
        docs.mkdir(exist_ok=True)
        (docs / ".keep").touch()  # the documents of an empty folder are kept
        with Store.open(store_in(folder)) as store:
            store.notes.add_root(name_of(docs))
            for number in steps(seed, until):
                path = docs / f"{rng.randrange(FILES)}.md"
                if rng.random() < 0.15:
                    path.unlink(missing_ok=True)
                else:
                    write_whole(path, [_text(number, rng.randrange(1, 6)).encode()])
                journal(begin=[number])
                refresh(store.notes)
                journal(done=[number], files=_digests(docs))

    def check(self, folder: Path, journals: Sequence[list[Entry]]) -> None:
        """Each document is whole; what was refreshed is there; a refresh repairs the rest."""
        if not store_in(folder).exists():
            return
        with Store.open(store_in(folder)) as store:
            _check_whole(store)
            last = journals[-1][-1] if journals and journals[-1] else {}
            if "files" in last and self._alone:
                found = {name: d.sha256 for name, d in store.notes.documents().items()}
                expect(found == last["files"], f"{self.name}: not as it was refreshed last")
            refresh(store.notes)
            _check_whole(store)
            found = {name: d.sha256 for name, d in store.notes.documents().items()}
            expect(found == _digests(folder / "docs"), f"{self.name}: a refresh left {found}")


def _check_whole(store: Store) -> None:
    """The passages of each document are those of one version of its file."""
    with store._file.reading() as conn:
        rows = conn.execute(
            "SELECT d.path, d.bytes, p.line, p.text FROM documents AS d"
            " LEFT JOIN passages AS p ON p.document = d.id ORDER BY d.id, p.line"
        ).fetchall()
    found: dict[tuple[str, int], list[tuple[int, str]]] = {}
    for path, size, line, text in rows:
        found.setdefault((path, size), []).append((line, text))
    for (path, size), pieces in found.items():
        first = pieces[0][1].split()
        text = _text(int(first[1]), int(first[3]))
        whole = size == len(text.encode()) and pieces == list(passages(text))
        expect(whole, f"notes: {path} is not one version of its file: {pieces}")


def _digests(docs: Path) -> dict[str, str]:
    return {
        name_of(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(docs.glob("*.md"))
    }


def _text(number: int, paragraphs: int) -> str:
    line = f"version {number:010} with {paragraphs:03} paragraphs. "
    return "\n\n".join([line * 9] * paragraphs)


def _conversation(number: int) -> Whole:
    about = Conversation(0, f"{number:032x}", f"import {number}", "imported")
    turns = range(1 + number % 4)
    said = [
        message
        for turn in turns
        for message in (
            Message("user", f"question {turn} of {number}"),
            Message("assistant", f"answer {turn} of {number}\n" * (1 + number % 30)),
        )
    ]
    return about, said
