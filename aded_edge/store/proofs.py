"""Proofs of exactness: how far each width's logits were from those of width 1, kept between
processes.

Knows keys, history lengths, widths and differences. Does not know how they were found, nor what a
key stands for. Proofs are stored as JSON, so that people can read them.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping

from .database import StoreFile

Proof = dict[int, dict[int, float]]
"""Length of the history -> width -> largest difference of a logit; 0 where all bits are equal."""


def load_proof(file: StoreFile, key: str) -> Proof | None:
    """The proof last saved under a key.

    Returns:
        None if there is no proof, or a damaged one, which adds a warning.

    Raises:
        StoreError: the file cannot be read.
    """
    with file.reading() as conn:
        return _load(file, conn, key)


def _load(file: StoreFile, conn: sqlite3.Connection, key: str) -> Proof | None:
    row = conn.execute("SELECT proof FROM proofs WHERE key = ?", (key,)).fetchone()
    if row is None:
        return None
    try:
        return _checked(json.loads(row[0]))
    except (ValueError, TypeError, AttributeError):
        file.warn(f"{file.path}: the proof {key!r} is damaged and was ignored")
        return None


def save_proof(
    file: StoreFile,
    key: str,
    proof: Mapping[int, Mapping[int, float]],
    conditions: Mapping[str, object],
) -> None:
    """Save a proof; it is joined with an earlier one that has the same key and histories.

    So a proof of few widths takes nothing away from one of many. If both have a difference, the
    larger one counts. An earlier one with other histories is replaced.

    Args:
        file: the open store.
        key: identifies the model, the build, the machine and the settings that bits depend on.
        proof: see `Proof`.
        conditions: what the key stands for, for people who read the table; values that JSON does
            not know are saved as text.

    Raises:
        ValueError: the proof is empty, or a length, a width or a difference is impossible.
        StoreError: the file cannot be written.
    """
    new = _checked(proof)
    with file.writing() as conn:
        known = _load(file, conn, key) or {}
        if known.keys() == new.keys():
            new = {length: _joined(known[length], new[length]) for length in new}
        row = (key, json.dumps(new), json.dumps(dict(conditions), default=str))
        conn.execute(_SAVE, row)


def _joined(known: dict[int, float], new: dict[int, float]) -> dict[int, float]:
    widths = sorted({*known, *new})
    return {width: max(known.get(width, 0.0), new.get(width, 0.0)) for width in widths}


def _checked(proof: Mapping[int, Mapping[int, float]]) -> Proof:
    plain = {
        int(length): {int(width): float(difference) for width, difference in found.items()}
        for length, found in proof.items()
    }
    if not plain:
        raise ValueError("a proof without a history proves nothing")
    for length, found in plain.items():
        for width, difference in found.items():
            if length < 1 or width <= 1 or not difference >= 0:  # also refuses NaN
                raise ValueError(f"no proof: width {width} after {length} tokens: {difference}")
    return plain


_SAVE = """
    INSERT INTO proofs (key, proof, conditions) VALUES (?, ?, ?)
    ON CONFLICT (key) DO UPDATE SET proof = excluded.proof, conditions = excluded.conditions,
        updated = excluded.updated"""
