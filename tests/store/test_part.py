from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest

from aded_edge.store import Part
from tests.store.samples import arrays_of, ledger


def test_empty_holds_nothing() -> None:
    empty = Part.empty()
    assert [len(array) for array in arrays_of(empty).values()] == [0, 0, 0, 1, 0, 0, 0, 0, 0]
    assert empty.nbytes == 8


def test_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        Part.empty().tokens = np.zeros(1, np.int32)  # type: ignore[misc]


def f32(*values: float) -> np.ndarray:
    return np.asarray(values, np.float32)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("contexts", [1], "contexts must be a one-dimensional NumPy array"),
        ("contexts", np.zeros((1, 1), np.int64), "contexts must be a one-dimensional"),
        ("contexts", np.zeros(1, np.int32), "contexts must be int64, not int32"),
        ("offsets", f32(0, 3), "offsets must be int64, not float32"),
        ("weights", np.zeros(3), "weights must be float32, not float64"),
        ("tokens", np.zeros(1, ">i4"), "tokens must be int32, not >i4"),
        ("contexts", np.zeros(2, np.int64), "totals must have 2 elements, not 1"),
        ("stamps", np.zeros(0, np.int32), "stamps must have 1 elements, not 0"),
        ("offsets", np.zeros(1, np.int64), "offsets must have 2 elements, not 1"),
        ("weights", f32(1), "weights must have 3 elements, not 1"),
        ("accepted", f32(), "accepted must have 1 elements, not 0"),
        ("offsets", np.asarray([1, 3]), "offsets must run from 0 to 3 .* not from 1 to 3"),
        ("offsets", np.asarray([0, 2]), "offsets must run from 0 to 3 .* not from 0 to 2"),
        ("weights", f32(1, -0.5, 1), "weights must be finite and not negative"),
        ("weights", f32(1, np.nan, 1), "weights must be finite and not negative"),
        ("weights", f32(1, np.inf, 1), "weights must be finite and not negative"),
        ("totals", f32(np.nan), "totals must be finite"),
        ("trials", f32(-1), "trials must be finite"),
        ("accepted", f32(np.inf), "accepted must be finite"),
    ],
)
def test_refuses_what_contradicts_itself(name: str, value: Any, message: str) -> None:
    arrays = arrays_of(ledger(1, 3))
    arrays[name] = value
    with pytest.raises(ValueError, match=message):
        Part(**arrays)


def two_contexts(contexts: list[int], offsets: list[int]) -> Part:
    arrays = arrays_of(ledger(1, 3))
    arrays["contexts"] = np.asarray(contexts, np.int64)
    arrays["offsets"] = np.asarray(offsets, np.int64)
    arrays["totals"], arrays["stamps"] = f32(1, 1), np.zeros(2, np.int32)
    return Part(**arrays)


def test_offsets_must_not_decrease() -> None:
    with pytest.raises(ValueError, match="offsets must not decrease"):
        two_contexts([1, 2], [0, 4, 3])


def test_contexts_must_differ() -> None:
    assert len(two_contexts([2, 1], [0, 0, 3]).contexts) == 2
    with pytest.raises(ValueError, match="contexts must not contain a key twice"):
        two_contexts([2, 2], [0, 1, 3])
