"""Copied spans: finds earlier occurrences of the last 3 to 32 tokens, and the tokens after them.

A bounded log holds the tokens that were read and generated. For each context length a table leads
from the hash of that many tokens to the latest places in the log that follow them. A context of
three tokens rarely has more than one successor, so places (24 bytes a token) hold as much as
the matrix's rows of 16 successors would, and whole passages can be copied token by token. If
two texts share a phrase, only the longest contexts tell them apart, so that copying continues in
the right text.

Knows the log and its places. Does not know probabilities: `estimate.py` blends what is found.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from aded_edge.arrays import Int32Array, Int64Array

from .compile import kernel

LENGTHS = (3, 4, 6, 8, 16, 32)
"""Context lengths in tokens; each has a table."""

LONGEST = LENGTHS[-1]

WAYS = 2
"""Places kept for each hash; the oldest is replaced."""

SEPARATOR = -1
"""Token between two texts in the log; no context and no successor includes it."""

_N_LENGTHS = len(LENGTHS)
_LENGTHS = np.asarray(LENGTHS, np.int64)


class Log(NamedTuple):
    """The arrays of `Spans`, as kernels take them."""

    tokens: Int32Array  # (power of two,) a ring: the token of place p is at p & (size - 1)
    places: Int32Array  # (lengths, buckets, WAYS) place + 1, newest first, 0 = free
    state: Int64Array  # (1,) tokens ever appended


@kernel
def _bucket(context: Any, end: int, length: int, mask: int) -> int:
    h = np.uint64(length)
    for i in range(end - length, end):
        h = (h ^ np.uint64(context[i])) * np.uint64(0x9E3779B97F4A7C15)
        h ^= h >> np.uint64(29)
    return np.int64(h & np.uint64(mask))


@kernel
def append(log: Any, tokens: Any, start: int) -> None:
    """Log tokens. Places are kept for tokens[start:]; the others are context only."""
    ring = log.tokens.size - 1
    mask = log.places.shape[1] - 1
    run = 0  # tokens since the last separator
    for i in range(tokens.size):
        place = log.state[0]
        if i >= start and tokens[i] >= 0:
            for n in range(_N_LENGTHS):
                length = _LENGTHS[n]
                if run < length:
                    break
                bucket = _bucket(tokens, i, length, mask)
                for way in range(WAYS - 1, 0, -1):
                    log.places[n, bucket, way] = log.places[n, bucket, way - 1]
                log.places[n, bucket, 0] = place + 1
        log.tokens[place & ring] = tokens[i]
        log.state[0] = place + 1
        run = run + 1 if tokens[i] >= 0 else 0


@kernel
def extend(log: Any, tokens: Any) -> Any:
    """Log tokens that continue the text that was logged last.

    Returns:
        int32 (n,): the last tokens logged before, at most LONGEST, followed by `tokens`.
    """
    end, capacity = log.state[0], log.tokens.size
    known = min(LONGEST, end, capacity)
    recent = np.empty(known + tokens.size, np.int32)
    for i in range(known):
        recent[i] = log.tokens[(end - known + i) & (capacity - 1)]
    recent[known:] = tokens
    log.state[0] = end - known
    append(log, recent, known)
    return recent


@kernel
def _stood_at(log: Any, place: int, context: Any, end: int, length: int) -> bool:
    capacity = log.tokens.size
    if place - length < log.state[0] - capacity:
        return False  # the ring was overwritten since
    for i in range(1, length + 1):
        if log.tokens[(place - i) & (capacity - 1)] != context[end - i]:
            return False
    return True


@kernel
def successors(log: Any, context: Any, end: int, n: int, found: Any) -> int:
    """Find the tokens that followed earlier occurrences of the last LENGTHS[n] context tokens.

    Args:
        log: a `Log`.
        context: int32, at least `end` long.
        end: number of context tokens.
        n: index of the context length.
        found: int32 (WAYS,), written: the tokens, latest occurrence first.

    Returns:
        How many were found.
    """
    length = _LENGTHS[n]
    if end < length:
        return 0
    count = 0
    bucket = _bucket(context, end, length, log.places.shape[1] - 1)
    for way in range(WAYS):
        place = log.places[n, bucket, way] - 1
        if place >= 0 and _stood_at(log, place, context, end, length):
            found[count] = log.tokens[place & (log.tokens.size - 1)]
            count += 1
    return count


class Spans:
    """A bounded log of tokens, and the latest places after each context of 3 to 32 tokens.

    Args:
        capacity: number of tokens held, rounded up to a power of two; the oldest are overwritten.
            About 28 bytes each.

    Attributes:
        log: the arrays, as kernels take them.
    """

    def __init__(self, capacity: int = 1 << 20) -> None:
        capacity = 1 << max(int(np.ceil(np.log2(max(capacity, 1)))), 6)
        self.log = Log(
            np.full(capacity, SEPARATOR, np.int32),
            # Written, not only reserved: the first prompt would wait 50 ms for the memory's pages.
            np.full((_N_LENGTHS, capacity // 2, WAYS), 0, np.int32),
            np.zeros(1, np.int64),
        )

    def __len__(self) -> int:
        """Return the number of tokens held, separators included."""
        return int(min(self.log.state[0], self.log.tokens.size))

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(array.nbytes for array in self.log)

    def append(self, tokens: Int32Array, start: int = 0) -> None:
        """Log a text that does not continue the text that was logged last.

        Args:
            tokens: int32 (n,). SEPARATOR (-1) may separate several texts.
            start: the tokens before this index are context only: they were learned before, so no
                place is kept for them.
        """
        append(self.log, np.concatenate((_GAP, tokens)), start + 1)

    def extend(self, tokens: Int32Array) -> None:
        """Log tokens, int32 (n,), that continue the text that was logged last."""
        extend(self.log, tokens)

    def tail(self, n: int) -> Int32Array:
        """Return the last `n` tokens logged, or fewer; int32."""
        end, capacity = int(self.log.state[0]), self.log.tokens.size
        return self.log.tokens[np.arange(max(end - n, end - capacity, 0), end) % capacity]


_GAP = np.asarray([SEPARATOR], np.int32)
