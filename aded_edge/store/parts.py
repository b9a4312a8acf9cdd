"""The parts of one model: appended, summed when loaded, and replaced by their sum when many.

Knows rows, pieces and checksums. Does not know how parts are summed: the caller sums them.

Appending does not read the parts that exist, so the cost of a turn depends only on what the turn
taught, and two processes cannot undo each other's work. This is a log-structured merge tree with
one level.
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
"""Longer arrays are stored in several rows, because SQLite reads a whole row into memory."""


@dataclass(frozen=True)
class MatrixSize:
    """The size of one model's matrix in the store.

    Attributes:
        name: name of the model.
        parts: how many parts it has.
        contexts, tokens, nbytes: sums over its parts.
        since: when the first part of the model was saved, UTC.
        updated: when its last part was saved, UTC; "" without parts.
    """

    name: str
    parts: int
    contexts: int
    tokens: int
    nbytes: int
    since: str
    updated: str


def matrix_sizes(file: StoreFile) -> list[MatrixSize]:
    """The size of every model's matrix, sorted by name.

    Raises:
        StoreError: the file cannot be read.
    """
    with file.reading() as conn:
        return [MatrixSize(*row) for row in conn.execute(_SIZES)]


class ModelParts:
    """The parts of one model; `Store.model` creates it.

    Args:
        file: the open store.
        fingerprint: identifies the model.
        name: name of the model, for people; the store keeps the one that was given last.
    """

    def __init__(self, file: StoreFile, fingerprint: str, name: str) -> None:
        self._file = file
        self.fingerprint = fingerprint
        self.name = name
        self._generation = file.generation

    def load(self) -> tuple[list[Part], list[int]]:
        """Read all parts, oldest first, in one transaction.

        A damaged part is left out and adds a line to `Store.warnings`.

        Returns:
            The intact parts, whose arrays are writable copies, and the id of each.

        Raises:
            StoreError: the file cannot be read.
        """
        loaded, ids = [], []
        with self._file.reading() as conn:
            self._generation = self._file.generation
            for id, tokens in conn.execute(_PARTS, (self.fingerprint,)).fetchall():
                try:
                    loaded.append(_read(conn, id, tokens))
                    ids.append(id)
                except ValueError as error:
                    self._file.warn(
                        f"{self._file.path}: part {id} of {self.name} is damaged ({error}) "
                        "and was ignored; the others are in use"
                    )
        return loaded, ids

    def add(
        self, part: Part, texts: Sequence[LearnedText] = (), source: str | None = None
    ) -> int | None:
        """Append a part, and record the texts that it was learned from.

        Afterwards a crash of this process does not lose the part. A power failure may lose the
        latest parts, but damages nothing.

        Args:
            part: the part.
            texts: the texts in it that must not be learned a second time; each once.
            source: uid of the conversation that it was learned in, so that deleting the
                conversation can delete the part.

        Returns:
            The id of the part. None, with nothing changed, if one of the texts is known already
            because another process learned it first.

        Raises:
            StoreError: the file cannot be written.
        """
        with self._file.writing() as conn:
            if self._known(conn, (text.sha256 for text in texts)):
                return None
            id = self._insert(conn, part, None, source)
            rows = [(text.sha256, text.path, text.tokens, self.fingerprint) for text in texts]
            conn.executemany(_TEXT, rows)
            return id

    def known(self, digests: Iterable[str]) -> set[str]:
        """The subset of these SHA-256 digests whose texts were learned before.

        Raises:
            StoreError: the file cannot be read.
        """
        with self._file.reading() as conn:
            return self._known(conn, digests)

    def replace(self, ids: Sequence[int], total: Part) -> int | None:
        """Replace parts by their sum; parts that were appended meanwhile stay as they are.

        Args:
            ids: ids of the parts to replace.
            total: their sum, which may be pruned.

        Returns:
            The id of the sum. None, with nothing changed, if one of the parts no longer exists
            because another process replaced it first, or the whole file was replaced.

        Raises:
            StoreError: the file cannot be written.
        """
        with self._file.writing() as conn:
            places = dict(conn.execute(_PLACES, (self.fingerprint,)))
            # In another file the same ids belong to other parts.
            if self._file.generation != self._generation or not places.keys() >= set(ids):
                return None
            replaced = [(id,) for id in set(ids)]
            conn.executemany(_FOLDED, replaced)
            conn.executemany("DELETE FROM parts WHERE id = ?", replaced)
            # The sum's tokens are older than those of a part that was appended meanwhile.
            place = max((places[id] for id in ids), default=None)
            new = self._insert(conn, total, place)
        self._file.checkpoint()
        return new

    def _known(self, conn: sqlite3.Connection, digests: Iterable[str]) -> set[str]:
        return {
            digest
            for digest in digests
            if conn.execute(_KNOWN, (self.fingerprint, digest)).fetchone()
        }

    def _insert(
        self,
        conn: sqlite3.Connection,
        part: Part,
        place: int | None,
        source: str | None = None,
    ) -> int:
        conn.execute(_MODEL, (self.fingerprint, self.name))
        counts = (len(part.contexts), len(part.successors), len(part.tokens))
        values = (place, source, *counts, part.nbytes, self.fingerprint)
        id = conn.execute(_PART, values).lastrowid
        assert id is not None  # an INSERT of one row has one
        for name in DTYPES:
            array = getattr(part, name)
            dtype = _STORED[name]
            data = memoryview(array.astype(dtype, copy=False).tobytes())
            for piece, start in enumerate(range(0, max(len(data), 1), PIECE_BYTES)):
                blob = data[start : start + PIECE_BYTES]
                conn.execute(_ARRAY, (id, name, piece, dtype, zlib.crc32(blob), blob))
        return id


def _read(conn: sqlite3.Connection, id: int, tokens: int) -> Part:
    """Read the arrays of a part; raise ValueError, which says what is wrong, if it is damaged."""
    pieces: dict[str, list[bytes]] = {name: [] for name in DTYPES}
    for name, dtype, crc32, data in conn.execute(_ARRAYS, (id,)):
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
        # A copy: a view of the bytes that SQLite returned would not be writable.
        arrays[name] = stored.astype(DTYPES[name])
    part = Part(**arrays)
    # Part checks the lengths of its arrays against each other; no other array depends on tokens.
    if len(part.tokens) != tokens:
        raise ValueError(f"{len(part.tokens)} tokens instead of {tokens}")
    return part


_STORED = {name: np.dtype(dtype).newbyteorder("<").str for name, dtype in DTYPES.items()}

_PARTS = """
    SELECT parts.id, tokens
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
