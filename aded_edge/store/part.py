"""A part: what was learned since the last save, as plain arrays that enter and leave the store.

Knows the arrays, their types and the conditions between them. Does not know what a key means, how
parts are summed, nor how they are written.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aded_edge.arrays import Float32Array, Int32Array, Int64Array

DTYPES = {
    "contexts": "int64",
    "totals": "float32",
    "stamps": "int32",
    "offsets": "int64",
    "successors": "int32",
    "weights": "float32",
    "tokens": "int32",
    "trials": "float32",
    "accepted": "float32",
}
"""The arrays of a `Part` and their types, in native byte order."""


@dataclass(frozen=True)
class LearnedText:
    """A text whose tokens are in a part. Its content identifies it, not its path.

    Attributes:
        sha256: SHA-256 of its bytes, in hexadecimal.
        path: where it was read, for people.
        tokens: its length in tokens.
    """

    sha256: str
    path: str
    tokens: int


@dataclass(frozen=True, eq=False)
class Part:
    """Weights of successors by context, a log of tokens, and counts of the calibration.

    Attributes:
        contexts: int64 (n,), key of each context; no key twice, any order.
        totals: float32 (n,), total weight seen in each context, dropped successors included.
        stamps: int32 (n,), clock of the matrix when each context was last touched.
        offsets: int64 (n + 1,); context i owns successors[offsets[i]:offsets[i + 1]].
        successors: int32 (m,), token ids.
        weights: float32 (m,), weight of each successor, finite and not negative.
        tokens: int32 (k,), log of token ids, oldest first; -1 separates two texts.
        trials: float32 (c,), calibration: acceptances that were expected, by cell.
        accepted: float32 (c,), calibration: acceptances that were counted, by cell.

    Raises:
        ValueError: an array has the wrong type or shape, or contradicts another one.
    """

    contexts: Int64Array
    totals: Float32Array
    stamps: Int32Array
    offsets: Int64Array
    successors: Int32Array
    weights: Float32Array
    tokens: Int32Array
    trials: Float32Array
    accepted: Float32Array

    @classmethod
    def empty(cls) -> Part:
        """A part without contexts, tokens and calibration cells."""
        arrays = {name: np.zeros(0, dtype) for name, dtype in DTYPES.items()}
        arrays["offsets"] = np.zeros(1, np.int64)
        return cls(**arrays)

    @property
    def nbytes(self) -> int:
        """Size of all arrays in bytes."""
        return sum(getattr(self, name).nbytes for name in DTYPES)

    def fits(self, n_vocab: int) -> bool:
        """Whether all tokens belong to a vocabulary of this size; -1 in `tokens` separates."""
        found = ((self.successors, 0), (self.tokens, -1))
        return all(not len(a) or (a.min() >= least and a.max() < n_vocab) for a, least in found)

    def __post_init__(self) -> None:
        for name, dtype in DTYPES.items():
            array = getattr(self, name)
            if not isinstance(array, np.ndarray) or array.ndim != 1:
                raise ValueError(f"{name} must be a one-dimensional NumPy array")
            if array.dtype != np.dtype(dtype):
                raise ValueError(f"{name} must be {dtype}, not {array.dtype}")
        self._check_lengths()
        self._check_values()

    def _check_lengths(self) -> None:
        n, m = len(self.contexts), len(self.successors)
        expected = {
            "totals": n,
            "stamps": n,
            "offsets": n + 1,
            "weights": m,
            "accepted": len(self.trials),
        }
        for name, length in expected.items():
            if len(getattr(self, name)) != length:
                raise ValueError(
                    f"{name} must have {length} elements, not {len(getattr(self, name))}"
                )

    def _check_values(self) -> None:
        offsets = self.offsets
        if offsets[0] != 0 or offsets[-1] != len(self.successors):
            raise ValueError(
                f"offsets must run from 0 to {len(self.successors)} (the number of successors), "
                f"not from {offsets[0]} to {offsets[-1]}"
            )
        if np.any(offsets[1:] < offsets[:-1]):
            raise ValueError("offsets must not decrease")
        keys = np.sort(self.contexts)
        if np.any(keys[1:] == keys[:-1]):
            raise ValueError("contexts must not contain a key twice")
        for name in ("totals", "weights", "trials", "accepted"):
            values = getattr(self, name)
            # NaN fails the first comparison, infinity the second; no array of booleans is needed.
            if len(values) and not (values.min() >= 0 and values.max() < np.inf):
                raise ValueError(f"{name} must be finite and not negative")
