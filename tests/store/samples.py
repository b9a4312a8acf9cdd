"""Small `Part`s for tests, and ways to compare and join them."""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sqlite_utils import Database

from aded_edge.store import Part
from aded_edge.store.part import DTYPES


@dataclass(frozen=True)
class PartRow:
    """The row of a part, without its arrays."""

    id: int
    contexts: int
    successors: int
    tokens: int
    nbytes: int
    created: str


def part_rows(path: Path, fingerprint: str = "fingerprint") -> list[PartRow]:
    """The rows of a model's parts in the store at `path`, oldest first."""
    database = Database(path)
    rows = database.execute(_PART_ROWS, (fingerprint,)).fetchall()
    database.close()
    return [PartRow(*row) for row in rows]


_PART_ROWS = """
    SELECT parts.id, contexts, successors, tokens, bytes, parts.created
    FROM parts JOIN models ON models.id = parts.model
    WHERE fingerprint = ? ORDER BY coalesce(place, parts.id), parts.id"""


def arrays_of(part: Part) -> dict[str, np.ndarray]:
    """All arrays by name."""
    return {name: getattr(part, name) for name in DTYPES}


def ledger(number: int, padding: int = 1) -> Part:
    """A part that can be recognised: its key and its token are `number`.

    `padding` successors make it as large as the test needs; they can be computed again.
    """
    return Part(
        contexts=np.asarray([number], np.int64),
        totals=np.asarray([number], np.float32),
        stamps=np.asarray([number], np.int32),
        offsets=np.asarray([0, padding], np.int64),
        successors=np.arange(padding, dtype=np.int32) * 3 + number,
        weights=np.full(padding, number, np.float32),
        tokens=np.asarray([number], np.int32),
        trials=np.asarray([1], np.float32),
        accepted=np.asarray([1], np.float32),
    )


def joined(parts: Sequence[Part]) -> Part:
    """The sum of parts that share no context."""
    arrays = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("contexts", "totals", "stamps", "successors", "weights", "tokens")
    }
    sizes = np.concatenate([np.diff(part.offsets) for part in parts])
    return Part(
        **arrays,
        offsets=np.concatenate(([0], np.cumsum(sizes))).astype(np.int64),
        trials=np.sum([part.trials for part in parts], axis=0, dtype=np.float32),
        accepted=np.sum([part.accepted for part in parts], axis=0, dtype=np.float32),
    )


def numbers(parts: Sequence[Part]) -> list[int]:
    """The numbers of all `ledger` parts in these parts and sums, in the order of their tokens."""
    return [int(token) for part in parts for token in part.tokens]


def assert_same(found: Part, expected: Part) -> None:
    """Check that every array has the same type and the same bits."""
    for name, array in arrays_of(expected).items():
        other = getattr(found, name)
        assert other.dtype == array.dtype, name
        assert other.tobytes() == array.tobytes(), name


def in_child(action: Callable[[], None], seconds: int = 60) -> None:
    """Run an action in a forked process, which is killed if it hangs."""
    child = os.fork()
    if child == 0:
        failed = 1
        try:
            signal.alarm(seconds)
            action()
            failed = 0
        finally:
            if failed:
                traceback.print_exc()
            os._exit(failed)
    assert os.waitpid(child, 0)[1] == 0
