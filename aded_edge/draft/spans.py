"""Copied spans: where the last 3 to 32 tokens stood before, and what followed there.

A bounded log of the tokens read and written, and for each context length a table from the hash
of that many tokens to the latest places in the log where they stood. A context of three tokens
rarely has more than one successor, so places (a few bytes a token) say as much as the matrix's
rows of 16 would, and following a place draws out a whole copied passage. The longest contexts
keep a long copy from straying into another text that shares a phrase with it.

Knows the log and its places. Does not know probabilities: `estimate.py` blends what it finds.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from aded_edge.arrays import Int32Array, Int64Array

from .compile import kernel

LENGTHS = (3, 4, 6, 8, 16, 32)
"""Context lengths that have a table."""

LONGEST = LENGTHS[-1]

WAYS = 2
"""Latest places kept per hash."""

SEPARATOR = -1
"""Stands between two texts in the log; no span reaches across it."""

_N_LENGTHS = len(LENGTHS)
_LENGTHS = np.asarray(LENGTHS, np.int64)


class Log(NamedTuple):
    """The arrays behind `Spans`, as the kernels take them."""

    tokens: Int32Array  # (power of two,) a ring; place p lies at p & (size - 1)
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
    """Logs tokens; the places of tokens[start:] are noted, the others are context only."""
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
    """Logs tokens that follow on from the last one logged.

    Returns:
        int32: the last LONGEST tokens logged before, or fewer, and then `tokens`.
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
        return False  # overwritten since
    for i in range(1, length + 1):
        if log.tokens[(place - i) & (capacity - 1)] != context[end - i]:
            return False
    return True


@kernel
def successors(log: Any, context: Any, end: int, n: int, found: Any) -> int:
    """What followed the last LENGTHS[n] tokens of context[:end], latest place first.

    Writes the tokens into `found` int32 (WAYS,) and returns how many there are.
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
    """A bounded log of tokens with the latest places of longer contexts.

    Args:
        capacity: tokens held; the oldest are overwritten. About 28 bytes each.
    """

    def __init__(self, capacity: int = 1 << 20) -> None:
        capacity = 1 << max(int(np.ceil(np.log2(max(capacity, 1)))), 6)
        self.log = Log(
            np.full(capacity, SEPARATOR, np.int32),
            np.zeros((_N_LENGTHS, capacity // 2, WAYS), np.int32),
            np.zeros(1, np.int64),
        )

    def __len__(self) -> int:
        """Tokens held."""
        return int(min(self.log.state[0], self.log.tokens.size))

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(array.nbytes for array in self.log)

    def append(self, tokens: Int32Array, start: int = 0) -> None:
        """Logs a text of its own, int32 (n,); `tokens[:start]` are context, known already.

        Inside it, SEPARATOR (-1) stands between two texts.
        """
        append(self.log, np.concatenate((_GAP, tokens)), start + 1)

    def extend(self, tokens: Int32Array) -> None:
        """Logs tokens that follow on from the last one logged."""
        extend(self.log, tokens)

    def tail(self, n: int) -> Int32Array:
        """The last `n` tokens logged, or fewer; int32."""
        end, capacity = int(self.log.state[0]), self.log.tokens.size
        return self.log.tokens[np.arange(max(end - n, end - capacity, 0), end) % capacity]

    def lookup(self, context: Int32Array) -> dict[int, list[int]]:
        """For each context length with a match: what followed, latest place first."""
        found = np.empty(WAYS, np.int32)
        matches = {}
        for n, length in enumerate(LENGTHS):
            count = successors(self.log, context, len(context), n, found)
            if count:
                matches[length] = found[:count].tolist()
        return matches


_GAP = np.asarray([SEPARATOR], np.int32)
