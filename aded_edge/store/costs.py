"""Cost curves: measured seconds of one evaluation by width, kept from one process to the next.

Knows keys, widths and seconds. Does not know how they were measured, nor what a key stands for.

Curve and conditions are JSON, because people want to read them: `sqlite3 store.db "SELECT * FROM
cost_curves"`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

from .database import StoreFile


def load_costs(file: StoreFile, key: str) -> dict[int, float] | None:
    """Seconds by width as last saved under `key`; None if there is no curve, or a damaged one.

    Raises:
        StoreError: the file cannot be read.
    """
    with file.reading() as conn:
        row = conn.execute("SELECT curve FROM cost_curves WHERE key = ?", (key,)).fetchone()
    if row is None:
        return None
    try:
        return _checked({int(width): seconds for width, seconds in json.loads(row[0]).items()})
    except (ValueError, TypeError, AttributeError):
        file.warn(f"{file.path}: the cost curve {key!r} is damaged and was passed over")
        return None


def save_costs(
    file: StoreFile, key: str, curve: Mapping[int, float], conditions: Mapping[str, object]
) -> None:
    """Keeps a curve, in the place of an earlier one of the same key.

    Args:
        file: the open store.
        key: what tells this model, machine and setting from others.
        curve: seconds by width.
        conditions: what it was measured under, for people; what JSON cannot say becomes text.

    Raises:
        ValueError: a width is below 1, or a time not positive and finite.
        StoreError: the file cannot be written.
    """
    row = (key, json.dumps(_checked(curve)), json.dumps(dict(conditions), default=str))
    with file.writing() as conn:
        conn.execute(_SAVE, row)


def _checked(curve: Mapping[int, float]) -> dict[int, float]:
    # Also turns NumPy's numbers into Python's, which JSON knows.
    plain = {int(width): float(seconds) for width, seconds in sorted(curve.items())}
    for width, seconds in plain.items():
        if width < 1 or not 0 < seconds < math.inf:
            raise ValueError(f"no cost: width {width} in {seconds} seconds")
    return plain


_SAVE = """
    INSERT INTO cost_curves (key, curve, conditions) VALUES (?, ?, ?)
    ON CONFLICT (key) DO UPDATE SET curve = excluded.curve, conditions = excluded.conditions,
        updated = excluded.updated"""
