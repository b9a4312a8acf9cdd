"""The tri-gram matrix: what usually follows one token and two tokens.

ADED's representative of the target (arXiv 2407.12021): a hash table from a context to the
weights of up to 16 next tokens. One table holds both context lengths; their keys differ.

The rows are stored without gaps in growing arrays, and an open-addressing index of row numbers
leads to them. So a free place in the hash table costs four bytes, not a whole row.

Knows tokens, weights and its own memory bound. Does not know longer contexts (`spans.py`), how
estimates are blended (`estimate.py`), nor that it is ever saved: `export` and `absorb` return and
take plain arrays.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from aded_edge.arrays import Float32Array, Int32Array, Int64Array

from .compile import kernel

SLOTS = 16
"""Successors kept per context."""

MOST_WEIGHT = 64.0
"""A row whose total exceeds this is halved, so that new successors can outweigh old ones."""

LEAST_PROB = 0.02
"""Candidates of the target that are less likely than this are not stored."""

_ONE_TOKEN = np.int64(1) << np.int64(62)


class Table(NamedTuple):
    """The arrays of a matrix, as kernels take them; only the first rows are in use."""

    keys: Int64Array  # (capacity,)
    totals: Float32Array  # (capacity,) all weight ever added, halved like the weights
    stamps: Int32Array  # (capacity,) clock at the last change
    tokens: Int32Array  # (capacity, SLOTS)
    weights: Float32Array  # (capacity, SLOTS), 0 = free
    slots: Int32Array  # (power of two,) the hash index: row + 1, 0 = free
    state: Int64Array  # (2,) rows used, clock


@kernel
def pair_key(a: int, b: int) -> int:
    """Return the key of the context (a, b); token ids are below 2**31."""
    return (np.int64(a) << np.int64(31)) | np.int64(b)


@kernel
def single_key(b: int) -> int:
    """Return the key of the one-token context (b)."""
    return _ONE_TOKEN | np.int64(b)


@kernel
def _slot(key: int, mask: int) -> int:
    # The finaliser of splitmix64 scatters neighbouring token ids over the index.
    h = np.uint64(key)
    h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.int64((h ^ (h >> np.uint64(31))) & np.uint64(mask))


@kernel
def find(table: Any, key: int) -> int:
    """Return the row of `key`, -1 if there is none."""
    mask = table.slots.size - 1
    slot = _slot(key, mask)
    while table.slots[slot] != 0:
        row = table.slots[slot] - 1
        if table.keys[row] == key:
            return row
        slot = (slot + 1) & mask
    return -1


@kernel
def _find_or_add(table: Any, key: int) -> int:
    # The caller has reserved the room, so a new row always fits.
    mask = table.slots.size - 1
    slot = _slot(key, mask)
    while table.slots[slot] != 0:
        row = table.slots[slot] - 1
        if table.keys[row] == key:
            return row
        slot = (slot + 1) & mask
    row = table.state[0]
    table.state[0] = row + 1
    table.slots[slot] = row + 1
    table.keys[row] = key
    table.totals[row] = 0.0
    for i in range(SLOTS):
        table.weights[row, i] = 0.0
    return row


@kernel
def _add(table: Any, row: int, token: int, weight: float) -> None:
    # In a full row a new successor reduces the lightest one by its weight, and replaces it if it
    # is as heavy (Misra-Gries). So rare tokens never displace a frequent one.
    free = -1
    lightest = 0
    for i in range(SLOTS):
        held = table.weights[row, i]
        if held == 0.0:
            free = i if free < 0 else free
            continue
        if table.tokens[row, i] == token:
            table.weights[row, i] = held + weight
            return
        if held < table.weights[row, lightest]:
            lightest = i
    if free >= 0:
        table.tokens[row, free] = token
        table.weights[row, free] = weight
    elif table.weights[row, lightest] <= weight:
        table.tokens[row, lightest] = token
        table.weights[row, lightest] = weight
    else:
        table.weights[row, lightest] -= weight


@kernel
def _touch(table: Any, row: int, weight: float) -> None:
    table.stamps[row] = table.state[1]
    total = table.totals[row] + weight
    if total > MOST_WEIGHT:
        total *= 0.5
        for i in range(SLOTS):
            table.weights[row, i] *= 0.5
    table.totals[row] = total


@kernel
def observe(table: Any, tokens: Any, start: int, weight: float) -> None:
    """Count tokens[start:] as successors. The caller has reserved two rows for each."""
    for i in range(max(start, 1), tokens.size):
        c, b = tokens[i], tokens[i - 1]
        if c < 0 or b < 0:
            continue
        row = _find_or_add(table, single_key(b))
        _add(table, row, c, weight)
        _touch(table, row, weight)
        if i > 1 and tokens[i - 2] >= 0:
            row = _find_or_add(table, pair_key(tokens[i - 2], b))
            _add(table, row, c, weight)
            _touch(table, row, weight)


@kernel
def observe_top(
    table: Any, befores: Any, lasts: Any, tokens: Any, probs: Any, weight: float, least: float
) -> None:
    """Add a distribution of next tokens to each context. The caller has reserved two rows for each.

    Args:
        table: a `Table`.
        befores, lasts, tokens, probs, weight, least: see `TrigramMatrix.observe_top`.
    """
    for i in range(lasts.size):
        for n in range(2):
            if n == 0:
                row = _find_or_add(table, single_key(lasts[i]))
            elif befores[i] >= 0:
                row = _find_or_add(table, pair_key(befores[i], lasts[i]))
            else:
                continue
            for j in range(tokens.shape[1]):
                if probs[i, j] >= least:
                    _add(table, row, tokens[i, j], weight * probs[i, j])
            _touch(table, row, weight)


@kernel
def _absorb(
    table: Any, keys: Any, totals: Any, stamps: Any, offsets: Any, tokens: Any, weights: Any
) -> None:
    # What was kept may be forged: no row has more weight than this, and no token more than its row.
    for i in range(keys.size):
        row = _find_or_add(table, keys[i])
        fresh = table.totals[row] == 0.0
        total = min(totals[i], MOST_WEIGHT)
        for j in range(offsets[i], offsets[i + 1]):
            if weights[j] > 0.0 and total > 0.0:
                _add(table, row, tokens[j], min(weights[j], total))
        _touch(table, row, total)
        if fresh:
            table.stamps[row] = stamps[i]


@kernel
def _reindex(keys: Any, rows: int, slots: Any) -> None:
    mask = slots.size - 1
    for row in range(rows):
        slot = _slot(keys[row], mask)
        while slots[slot] != 0:
            slot = (slot + 1) & mask
        slots[slot] = row + 1


class Rows(NamedTuple):
    """The rows of a matrix as plain arrays, the form in which they are saved and merged."""

    keys: Int64Array  # (n,)
    totals: Float32Array  # (n,)
    stamps: Int32Array  # (n,)
    offsets: Int64Array  # (n + 1,) successors of row i: offsets[i]:offsets[i + 1]
    tokens: Int32Array  # (m,)
    weights: Float32Array  # (m,)


class TrigramMatrix:
    """Weights of next tokens after each pair of tokens, and after each single token.

    Args:
        max_contexts: largest number of contexts. When it is reached, a quarter of them is dropped,
            the oldest and rarest first.
        capacity: rows allocated at first; doubled when needed.
        half_life: number of observations (calls, not tokens) after which a context that was not
            seen again counts half when contexts are chosen to be dropped.

    Attributes:
        table: the arrays, as kernels take them. Replaced by larger ones when the matrix grows.
    """

    def __init__(
        self, max_contexts: int = 1 << 19, capacity: int = 1 << 12, half_life: int = 20_000
    ) -> None:
        self.max_contexts = max(max_contexts, 1 << 10)
        self.half_life = half_life
        # Room for the worst case is reserved before a kernel runs. Long texts are taken in pieces,
        # so that this room stays small.
        self._chunk = min(self.max_contexts // 8, 1 << 14)
        self.table = _allocate(min(capacity, self.max_contexts))

    def __len__(self) -> int:
        """Return the number of contexts."""
        return int(self.table.state[0])

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(array.nbytes for array in self.table)

    def observe(self, tokens: Int32Array, start: int = 0, weight: float = 1.0) -> None:
        """Count each of `tokens[start:]` as a successor of the tokens before it.

        Args:
            tokens: int32 (n,); a negative token separates two texts.
            start: the tokens before this index are context only.
            weight: weight that one occurrence adds.
        """
        for part in range(start, len(tokens), self._chunk):
            first = max(part - 2, 0)
            piece = tokens[first : part + self._chunk]
            skip = part - first
            self.reserve(2 * (len(piece) - skip))
            self.table.state[1] += 1
            observe(self.table, piece, skip, weight)

    def observe_top(
        self,
        befores: Int32Array,
        lasts: Int32Array,
        tokens: Int32Array,
        probs: Float32Array,
        weight: float = 1.0,
        least: float = LEAST_PROB,
    ) -> None:
        """Learn the target's own distribution at evaluated nodes.

        Args:
            befores: int32 (n,), the token before each node's token, -1 where there is none.
            lasts: int32 (n,), each node's token.
            tokens, probs: int32 and float32 (n, k), the target's likeliest next tokens at each
                node, and their probabilities.
            weight: weight that one node adds to each of its contexts, shared out by probability.
            least: candidates that are less likely than this are not stored.
        """
        self.reserve(2 * len(lasts))
        self.table.state[1] += 1
        observe_top(self.table, befores, lasts, tokens, probs, weight, least)

    def export(self) -> Rows:
        """Return all rows as plain arrays (copies)."""
        rows = len(self)
        used = self.table.weights[:rows] > 0
        offsets = np.zeros(rows + 1, np.int64)
        np.cumsum(used.sum(axis=1), out=offsets[1:])
        return Rows(
            self.table.keys[:rows].copy(),
            self.table.totals[:rows].copy(),
            self.table.stamps[:rows].copy(),
            offsets,
            self.table.tokens[:rows][used],
            self.table.weights[:rows][used],
        )

    def absorb(self, rows: Rows) -> None:
        """Add the rows of another matrix to this one."""
        # The clocks of two processes cannot be compared. So the youngest absorbed row becomes the
        # youngest of this matrix, and the other absorbed rows keep their distance from it.
        stamps = rows.stamps
        if stamps.size:
            latest = int(stamps.max())
            self.table.state[1] = max(self.clock + 1, latest) if len(self) else latest
            stamps = stamps + np.int32(self.clock - latest)
        for part in range(0, len(rows.keys), self._chunk):
            stop = min(part + self._chunk, len(rows.keys))
            self.reserve(stop - part)
            _absorb(
                self.table,
                rows.keys[part:stop],
                rows.totals[part:stop],
                stamps[part:stop],
                rows.offsets[part : stop + 1],
                rows.tokens,
                rows.weights,
            )

    @property
    def clock(self) -> int:
        """Number of observations so far, the unit of a context's age."""
        return int(self.table.state[1])

    def reserve(self, new_rows: int) -> None:
        """Make room for that many new contexts: grow, or drop the oldest and rarest."""
        capacity = self.table.keys.size
        if self.table.state[0] + new_rows <= capacity:  # the usual case, in every step
            return
        if len(self) + new_rows > self.max_contexts:
            self._evict()
        wanted = len(self) + new_rows
        if wanted > capacity:
            self._grow(max(min(2 * capacity, self.max_contexts), wanted))

    # A new table is complete before it replaces the old one, so an interruption (Ctrl-C) in
    # between leaves the old one intact.

    def _grow(self, capacity: int) -> None:
        self.table = _copy(self.table, slice(len(self)), capacity)

    def _evict(self) -> None:
        # A row's value is its weight, halved for every half-life since its last change.
        rows = len(self)
        age = self.clock - self.table.stamps[:rows].astype(np.float32)
        value = self.table.totals[:rows] * np.exp2(-age / self.half_life)
        keep = np.zeros(rows, np.bool_)
        keep[np.argpartition(value, rows // 4)[rows // 4 :]] = True
        self.table = _copy(self.table, np.flatnonzero(keep), self.table.keys.size)


def _copy(old: Table, rows: slice | Int64Array, capacity: int) -> Table:
    table = _allocate(capacity)
    kept = len(old.keys[rows])
    for name in ("keys", "totals", "stamps", "tokens", "weights"):
        getattr(table, name)[:kept] = getattr(old, name)[rows]
    table.state[:] = kept, old.state[1]
    _reindex(table.keys, kept, table.slots)
    return table


def _allocate(capacity: int) -> Table:
    slots = 1 << max(int(np.ceil(np.log2(capacity * 1.5))), 4)
    return Table(
        np.empty(capacity, np.int64),
        np.empty(capacity, np.float32),
        np.empty(capacity, np.int32),
        np.empty((capacity, SLOTS), np.int32),
        np.zeros((capacity, SLOTS), np.float32),
        np.zeros(slots, np.int32),
        np.zeros(2, np.int64),
    )
