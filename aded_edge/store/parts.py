"""What was learned about one model: parts that are appended, summed when loaded, and replaced
by their sum when there are many.

Knows rows, pieces and checksums. Does not know how parts are summed: whoever loads them does.

Appending never reads what is there, so a turn costs what the turn taught, and two processes
cannot undo each other's work. It is the idea of a log-structured merge tree, with one level.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from .database import StoreFile
from .part import DTYPES, LearnedText, Part

PIECE_BYTES = 16 << 20
"""A longer array is stored in several rows: SQLite holds a row that it reads in memory."""


@dataclass(frozen=True)
class PartRow:
    """What the store knows of a part without reading its arrays.

    Attributes:
        id: its number, never used again.
        contexts, successors, tokens: how many it holds.
        nbytes: bytes of its arrays.
        created: when it was written, UTC, like "2026-01-31T18:00:00Z".
    """

    id: int
    contexts: int
    successors: int
    tokens: int
    nbytes: int
    created: str


@dataclass(frozen=True)
class MatrixSize:
    """What one model's matrix holds.

    Attributes:
        name: of the model.
        parts, contexts, tokens, nbytes: sums over its parts.
        since: when the model was first met, UTC.
        updated: when the last part was written, UTC; "" without parts.
    """

    name: str
    parts: int
    contexts: int
    tokens: int
    nbytes: int
    since: str
    updated: str


def matrix_sizes(file: StoreFile) -> list[MatrixSize]:
    """The sizes of all models' matrices, by name.

    Raises:
        StoreError: the file cannot be read.
    """
    with file.reading() as conn:
        return [MatrixSize(*row) for row in conn.execute(_SIZES)]


class ModelParts:
    """The parts of one model; get it from `Store.model`.

    Args:
        file: the open store.
        fingerprint: what tells this model from others.
        name: what people call it; the last one given is kept.
    """

    def __init__(self, file: StoreFile, fingerprint: str, name: str) -> None:
        self._file = file
        self.fingerprint = fingerprint
        self.name = name

    def parts(self) -> list[PartRow]:
        """All parts, oldest first.

        Raises:
            StoreError: the file cannot be read.
        """
        with self._file.reading() as conn:
            return self._parts(conn)

    def load(self) -> tuple[list[Part], list[int]]:
        """Everything learned so far, oldest first: one state of the file, even while others write.

        A part that is damaged is passed over, with a line in `Store.warnings`.

        Returns:
            The parts that are intact, in arrays of their own (writable), and the id of each.

        Raises:
            StoreError: the file cannot be read.
        """
        loaded, ids = [], []
        with self._file.reading() as conn:
            for part in self._parts(conn):
                try:
                    loaded.append(_read(conn, part))
                    ids.append(part.id)
                except ValueError as error:
                    self._file.warn(
                        f"{self._file.path}: part {part.id} of {self.name} is damaged ({error}) "
                        "and was passed over; the others are in use"
                    )
        return loaded, ids

    def add(
        self, learned: Part, texts: Sequence[LearnedText] = (), source: str | None = None
    ) -> int | None:
        """Appends a part, and notes the texts that it was learned from.

        After that no crash of a process loses it; a power failure may lose the latest parts,
        but damages nothing.

        Args:
            learned: the part.
            texts: what it holds, if that must count once; no text twice.
            source: the conversation that it was learned in, so that it can be taken back.

        Returns:
            The id of the part, or None if one of the texts is known already, because another
            process was first: then nothing was changed.

        Raises:
            StoreError: the file cannot be written.
        """
        with self._file.writing() as conn:
            if self._known(conn, (text.sha256 for text in texts)):
                return None
            part = self._insert(conn, learned, None, source)
            rows = [(text.sha256, text.path, text.tokens, self.fingerprint) for text in texts]
            conn.executemany(_TEXT, rows)
            return part

    def known(self, digests: Iterable[str]) -> set[str]:
        """Which of these SHA-256 digests are those of texts learned before.

        Raises:
            StoreError: the file cannot be read.
        """
        with self._file.reading() as conn:
            return self._known(conn, digests)

    def replace(self, part_ids: Sequence[int], learned: Part) -> int | None:
        """Puts their sum in the place of some parts; parts appended meanwhile stay as they are.

        Args:
            part_ids: the parts that `learned` is the sum of.
            learned: the sum, which may be pruned.

        Returns:
            The id of the sum, or None if one of the parts is no longer there, because another
            process was first: then nothing was changed.

        Raises:
            StoreError: the file cannot be written.
        """
        with self._file.writing() as conn:
            places = dict(conn.execute(_PLACES, (self.fingerprint,)))
            if not places.keys() >= set(part_ids):
                return None
            gone = [(part,) for part in set(part_ids)]
            conn.executemany(_FOLDED, gone)
            conn.executemany("DELETE FROM parts WHERE id = ?", gone)
            # The sum's tokens are older than those of a part that was appended meanwhile.
            place = max((places[part] for part in part_ids), default=None)
            part = self._insert(conn, learned, place)
        self._file.checkpoint()
        return part

    def _known(self, conn: sqlite3.Connection, digests: Iterable[str]) -> set[str]:
        return {
            digest
            for digest in digests
            if conn.execute(_KNOWN, (self.fingerprint, digest)).fetchone()
        }

    def _parts(self, conn: sqlite3.Connection) -> list[PartRow]:
        return [PartRow(*row) for row in conn.execute(_PARTS, (self.fingerprint,))]

    def _insert(
        self,
        conn: sqlite3.Connection,
        learned: Part,
        place: int | None,
        source: str | None = None,
    ) -> int:
        conn.execute(_MODEL, (self.fingerprint, self.name))
        counts = (len(learned.contexts), len(learned.successors), len(learned.tokens))
        values = (place, source, *counts, learned.nbytes, self.fingerprint)
        part = conn.execute(_PART, values).lastrowid
        assert part is not None  # an INSERT of one row has one
        for name in DTYPES:
            array = getattr(learned, name)
            dtype = _STORED[name]
            data = memoryview(array.astype(dtype, copy=False).tobytes())
            for piece, start in enumerate(range(0, max(len(data), 1), PIECE_BYTES)):
                blob = data[start : start + PIECE_BYTES]
                conn.execute(_ARRAY, (part, name, piece, dtype, zlib.crc32(blob), blob))
        return part


def _read(conn: sqlite3.Connection, part: PartRow) -> Part:
    """Reads the arrays of a part. Raises ValueError, saying what is wrong, if it is damaged."""
    pieces: dict[str, list[bytes]] = {name: [] for name in DTYPES}
    for name, dtype, crc32, data in conn.execute(_ARRAYS, (part.id,)):
        if name not in pieces or dtype != _STORED[name]:
            raise ValueError(f"unknown array {name!r} of type {dtype!r}")
        if not isinstance(data, bytes) or zlib.crc32(data) != crc32:
            raise ValueError(f"wrong checksum of {name}")
        pieces[name].append(data)
    arrays = {}
    for name, data in pieces.items():
        if not data:
            raise ValueError(f"{name} missing")
        stored = np.frombuffer(b"".join(data), _STORED[name])
        # A copy: unlike a view of the bytes that SQLite gave, it is writable.
        arrays[name] = stored.astype(DTYPES[name])
    learned = Part(**arrays)
    # Part checks lengths against each other; only the tokens stand alone.
    if len(learned.tokens) != part.tokens:
        raise ValueError(f"{len(learned.tokens)} tokens instead of {part.tokens}")
    return learned


_STORED = {name: np.dtype(dtype).newbyteorder("<").str for name, dtype in DTYPES.items()}

_PARTS = """
    SELECT parts.id, contexts, successors, tokens, bytes, parts.created
    FROM parts JOIN models ON models.id = parts.model
    WHERE fingerprint = ? ORDER BY coalesce(place, parts.id), parts.id"""

_PLACES = """
    SELECT parts.id, coalesce(place, parts.id)
    FROM parts JOIN models ON models.id = parts.model WHERE fingerprint = ?"""

_ARRAYS = "SELECT name, dtype, crc32, data FROM arrays WHERE part = ? ORDER BY name, piece"

_MODEL = """
    INSERT INTO models (fingerprint, name) VALUES (?, ?)
    ON CONFLICT (fingerprint) DO UPDATE SET name = excluded.name WHERE name != excluded.name"""

_PART = """
    INSERT INTO parts (place, source, contexts, successors, tokens, bytes, model)
    SELECT ?, ?, ?, ?, ?, ?, id FROM models WHERE fingerprint = ?"""

_FOLDED = """
    INSERT INTO folded_sources (model, source)
    SELECT model, source FROM parts WHERE id = ? AND source IS NOT NULL
    ON CONFLICT DO NOTHING"""

_SIZES = """
    SELECT name, count(parts.id), coalesce(sum(contexts), 0), coalesce(sum(tokens), 0),
        coalesce(sum(bytes), 0), models.created, coalesce(max(parts.created), '')
    FROM models LEFT JOIN parts ON parts.model = models.id
    GROUP BY models.id ORDER BY name"""

_ARRAY = "INSERT INTO arrays (part, name, piece, dtype, crc32, data) VALUES (?, ?, ?, ?, ?, ?)"

_KNOWN = """
    SELECT 1 FROM learned_texts JOIN models ON models.id = learned_texts.model
    WHERE fingerprint = ? AND sha256 = ?"""

_TEXT = """
    INSERT INTO learned_texts (sha256, path, tokens, model)
    SELECT ?, ?, ?, id FROM models WHERE fingerprint = ?"""
