"""Cost curves: the measured seconds of one evaluation by width, kept between processes.

Knows keys, widths and seconds. Does not know how they were measured, nor what a key stands for.

Curves and conditions are stored as JSON, so that people can read them: `sqlite3 store.db "SELECT *
FROM cost_curves"`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

from .database import StoreFile


def load_costs(file: StoreFile, key: str) -> dict[int, float] | None:
    """The curve last saved under a key.

    Args:
        file: the open store.
        key: the `key` of `save_costs`.

    Returns:
        Seconds by width; None if there is no curve, or a damaged one, which adds a warning.

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
        file.warn(f"{file.path}: the cost curve {key!r} is damaged and was ignored")
        return None


def save_costs(
    file: StoreFile, key: str, curve: Mapping[int, float], conditions: Mapping[str, object]
) -> None:
    """Save a curve; it replaces an earlier one with the same key.

    Args:
        file: the open store.
        key: identifies the model, the machine and the settings that the costs depend on.
        curve: seconds by width.
        conditions: how it was measured, for people who read the table; values that JSON does not
            know are saved as text.

    Raises:
        ValueError: a width is below 1, or a time is not positive and finite.
        StoreError: the file cannot be written.
    """
    row = (key, json.dumps(_checked(curve)), json.dumps(dict(conditions), default=str))
    with file.writing() as conn:
        conn.execute(_SAVE, row)


def _checked(curve: Mapping[int, float]) -> dict[int, float]:
    # Also converts NumPy's numbers to Python's: json refuses NumPy's.
    plain = {int(width): float(seconds) for width, seconds in sorted(curve.items())}
    for width, seconds in plain.items():
        if width < 1 or not 0 < seconds < math.inf:
            raise ValueError(f"no cost: width {width} in {seconds} seconds")
    return plain


_SAVE = """
    INSERT INTO cost_curves (key, curve, conditions) VALUES (?, ?, ?)
    ON CONFLICT (key) DO UPDATE SET curve = excluded.curve, conditions = excluded.conditions,
        updated = excluded.updated"""
