"""Documents: the user's files as notes, cut into passages and updated when the files change.

Knows files and where a text may be cut. Does not know the model, nor how passages are searched.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from aded_edge.errors import ConfigError
from aded_edge.files import Skipped, find, readable
from aded_edge.store import Deleted, Document, Notes

from .vanished import Fate, Vanished

PASSAGE = 700
"""Length of a passage in characters: about a paragraph, 150 to 200 tokens."""

MOST_BYTES = 4 << 20
"""Larger files are not read, in bytes."""


class Refreshed(NamedTuple):
    """The result of a refresh.

    Attributes:
        new, changed, gone: how many documents were added, updated and deleted.
        documents: how many there are now.
        skipped: files that were not read, by reason.
        forgotten: copies of deleted documents in conversations; see `store.Notes.forget`.
    """

    new: int
    changed: int
    gone: int
    documents: int
    skipped: Skipped
    forgotten: Deleted


def read_text(path: Path) -> str:
    """Read the text of one file that the user named.

    Raises:
        ConfigError: the file does not exist, cannot be read, is too large, or is no text.
    """
    try:
        if path.is_dir():
            raise ConfigError(f"{path} is a folder; give a file, or use `aded-edge notes add`")
        if not path.is_file():
            raise ConfigError(f"{path} is no file; check the path")
        with path.open("rb") as file:  # its size may be 0 (/proc), or change meanwhile
            data = file.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise ConfigError(f"{path} is larger than {MOST_BYTES >> 20} MB; give a part of it")
        text = readable(data)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}); check the path") from error
    if text is None:
        raise ConfigError(f"{path} is no text in UTF-8 or UTF-16; give a text file")
    return text


def passages(text: str) -> Iterator[tuple[int, str]]:
    """Cut a text at paragraphs and headings into passages of about PASSAGE characters.

    A paragraph that is longer is cut between lines, a longer line anywhere.

    Yields:
        The number of the passage's first line, counted from 1, and its text.
    """
    piece: list[str] = []
    first = size = 0
    for number, line in enumerate(text.splitlines(), 1):
        begins = not line.strip() or line.startswith("#")  # a new paragraph or heading
        full = size + len(line) > PASSAGE
        if piece and (full or (begins and size > PASSAGE // 3)):
            yield first, "\n".join(piece).rstrip()
            piece, size = [], 0
        if not piece:
            if not line.strip():
                continue
            first = number
        for start in range(0, max(len(line), 1), PASSAGE):  # a file may consist of one long line
            if start:
                yield first, "\n".join(piece)
                piece, first = [], number
            piece.append(line[start : start + PASSAGE])
        size = sum(map(len, piece))
    if piece:
        yield first, "\n".join(piece).rstrip()


def put(notes: Notes, path: Path, data: bytes, text: str, before: Document | None = None) -> int:
    """Save one document in its current state.

    Args:
        notes: where to save it.
        path: its file.
        data: content of the file.
        text: the same, as text.
        before: its state in `notes`, or None; if the content is the same, the passages stay.

    Returns:
        The number of passages written.
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
    """The path as the store keeps it: absolute, undecodable bytes replaced."""
    return os.fsencode(path.absolute()).decode("utf-8", "replace")


def refresh(
    notes: Notes, progress: Callable[[int, int], None] = lambda done, planned: None
) -> Refreshed:
    """Read new and changed files in the added folders, and delete documents that are none any more.

    What conversations were given of a document is deleted only if its file was deleted, or if the
    user removed the place that it was added with: see `Vanished`. A folder that does not exist
    now or looks unmounted (an unplugged disk, a network) keeps its documents.

    Args:
        notes: the documents, and the files and folders that were added.
        progress: called with (files done, files planned).

    Raises:
        ConfigError: an added folder vanished while it was read.
        StoreError: the store cannot be read or written.
    """
    known, skipped = notes.documents(), Skipped()
    roots = [Path(root) for root in notes.roots()]
    present = [root for root in roots if os.path.exists(root)]  # Path.exists() may raise
    found = find(present, skipped)
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
    away = [str(root) for root in roots if root not in present and not _deleted(root, known)]
    unseen = [name for name in known if name not in seen and not _below(name, away)]
    vanished, added = Vanished(), [str(root) for root in roots]
    fates = {n: vanished.fate(n) if _below(n, added) else Fate.DELETED for n in unseen}
    deleted, no_document = ([n for n in unseen if fates[n] is fate] for fate in _GOING)
    if no_document:
        notes.remove(no_document)
    forgotten = notes.forget(deleted) if deleted else Deleted()
    gone = len(deleted) + len(no_document)
    return Refreshed(new, changed, gone, len(known) + new - gone, skipped, forgotten)


_GOING = (Fate.DELETED, Fate.NO_DOCUMENT)


def _deleted(root: Path, known: Collection[str]) -> bool:
    """Whether an added file that is not there was deleted; of a folder that cannot be told."""
    return str(root) in known and os.path.isdir(root.parent)


def _unchanged(path: Path, size: int, before: Document) -> bool:
    try:
        return size == before.bytes and path.stat().st_mtime_ns == before.mtime
    except OSError:
        return False


def _read(notes: Notes, path: Path, size: int, before: Document | None, skipped: Skipped) -> bool:
    """Save a file as a document; return False if it cannot be one."""
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
        return before is not None  # keep the document: the file may be readable again later
    return True


def _below(name: str, roots: Sequence[str]) -> bool:
    return any(name == root or name.startswith(root.rstrip("/") + "/") for root in roots)
