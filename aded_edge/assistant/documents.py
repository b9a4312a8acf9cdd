"""Documents: files cut into passages, and kept in step with the files.

Knows files and where a text may be cut. Does not know the model, nor how passages are searched.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from aded_edge.errors import ConfigError
from aded_edge.files import Skipped, find, readable
from aded_edge.store import Document, Notes

PASSAGE = 700
"""Characters of a passage: about a paragraph, and 150 to 200 tokens."""

MOST_BYTES = 4 << 20
"""A larger file is no note."""


class Refreshed(NamedTuple):
    """What a refresh found: how many documents are new, changed, gone, and there now."""

    new: int
    changed: int
    gone: int
    documents: int
    skipped: Skipped


def read_text(path: Path) -> str:
    """The text of one file that the user named.

    Raises:
        ConfigError: it does not exist, cannot be read, or is no text.
    """
    try:
        if path.is_dir():
            raise ConfigError(f"{path} is a folder; `aded_edge notes add` takes those")
        if not path.is_file():
            raise ConfigError(f"{path} is no file; check the path")
        if path.stat().st_size > MOST_BYTES:
            raise ConfigError(f"{path} has more than {MOST_BYTES >> 20} MB; give a part of it")
        text = readable(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}); check the path") from error
    if text is None:
        raise ConfigError(f"{path} is no UTF-8 text; give a text file")
    return text


def passages(text: str) -> Iterator[tuple[int, str]]:
    """First line (from 1) and text of each piece: whole paragraphs, up to PASSAGE characters."""
    piece: list[str] = []
    first = size = 0
    for number, line in enumerate(text.splitlines(), 1):
        begins = not line.strip() or line.startswith("#")  # a paragraph or a heading
        full = size + len(line) > PASSAGE
        if piece and (full or (begins and size > PASSAGE // 3)):
            yield first, "\n".join(piece).rstrip()
            piece, size = [], 0
        if not piece:
            if not line.strip():
                continue
            first = number
        for start in range(0, max(len(line), 1), PASSAGE):  # a line may be a whole book
            if start:
                yield first, "\n".join(piece)
                piece, first = [], number
            piece.append(line[start : start + PASSAGE])
        size = sum(map(len, piece))
    if piece:
        yield first, "\n".join(piece).rstrip()


def put(notes: Notes, path: Path, data: bytes, text: str, before: Document | None = None) -> int:
    """Keeps one document as it is now; one that was only touched keeps its passages.

    Returns:
        How many passages were written.
    """
    status = path.stat()
    document = Document(
        name_of(path), hashlib.sha256(data).hexdigest(), len(data), status.st_mtime_ns
    )
    if before is not None and before.sha256 == document.sha256:
        notes.put(document, None)
        return 0
    pieces = list(passages(text))
    notes.put(document, pieces)
    return len(pieces)


def name_of(path: Path) -> str:
    """The path as the store keeps it: absolute, and text."""
    return os.fsencode(path.absolute()).decode("utf-8", "replace")


def refresh(
    notes: Notes, progress: Callable[[int, int], None] = lambda done, planned: None
) -> Refreshed:
    """Reads what is new or changed in the places that were added, and forgets what is gone.

    A place that is not there now (another disk, a network) keeps its documents.

    Raises:
        StoreError: the store cannot be read or written.
    """
    known, skipped = notes.documents(), Skipped()
    roots = [Path(root) for root in notes.roots()]
    there = [root for root in roots if os.path.exists(root)]  # which never raises
    found = find(there, skipped)
    seen, new, changed = set(), 0, 0
    for done, (path, size) in enumerate(found):
        progress(done, len(found))
        name = name_of(path)
        before = known.get(name)
        seen.add(name)
        if before is not None and _unchanged(path, size, before):
            continue
        if not _read(notes, path, size, before, skipped):
            seen.discard(name)
        elif before is None:
            new += 1
        else:
            changed += 1
    progress(len(found), len(found))
    away = [str(root) for root in roots if root not in there]
    gone = [name for name in known if name not in seen and not _below(name, away)]
    if gone:
        notes.remove(gone)
    return Refreshed(new, changed, len(gone), len(known) + new - len(gone), skipped)


def _unchanged(path: Path, size: int, before: Document) -> bool:
    try:
        return size == before.bytes and path.stat().st_mtime_ns == before.mtime
    except OSError:
        return False


def _read(notes: Notes, path: Path, size: int, before: Document | None, skipped: Skipped) -> bool:
    """Keeps a document's new state; False if it is none."""
    if size > MOST_BYTES:
        skipped.counts["too large"] += 1
        return False
    try:
        data = path.read_bytes()
        text = readable(data)
        if text is None:
            skipped.counts["no text"] += 1
            return False
        put(notes, path, data, text, before)
    except OSError as error:
        skipped.failed(path, error)
        return before is not None  # it may come back
    return True


def _below(name: str, roots: Sequence[str]) -> bool:
    return any(name == root or name.startswith(root.rstrip("/") + "/") for root in roots)
