"""The proof of exactness: which batch widths give the bits of plain decoding, by trying them.

llama.cpp has other kernels for several rows than for one, and they may add in another order. Which
do depends on the build, the machine, the types of the tensors and the length of the history. So a
width counts as proved only if all its logits were equal bit for bit at every history that was
tried. Unequal sums are often rounded to equal bits further on; so many rows are compared.

Knows how widths are compared and where proofs are kept. Does not know what a proof is used for.
"""

from __future__ import annotations

import itertools
import logging
import time
from typing import TYPE_CHECKING

import numpy as np

from aded_edge.arrays import Float32Array, Int32Array
from aded_edge.decode.cost_curve import FIRST, THEN, CostCurve
from aded_edge.llamacpp.fingerprint import bit_conditions, cost_key
from aded_edge.llamacpp.target import LlamaTarget
from aded_edge.store import Proof

from .persistence import Persistence

if TYPE_CHECKING:
    import llama_cpp

log = logging.getLogger("aded_edge")

HISTORIES = (40, 250, 300, 508, 600, 1500)
"""Tokens before the rows that are compared. llama.cpp attends over cells in blocks of 256, and has
other kernels from 512 on: so the rows lie before these borders, across them, and behind them."""

ROWS = 32
"""Rows of each width that are compared at each history, at least."""

KEPT = 8
"""The most rows that are kept of a draft whose rest is wrong."""

PROOF_SECONDS = 20.0
"""Rough time for a proof. On a slow model fewer widths are tried, but the first ones always."""

NOTHING_PROVED = (
    "exact=True, and no batch width gives the bits of width 1 with this model, build and settings"
)
"""`Stats.plain_because` where exactness leaves no width to draft in."""

_NONE = np.empty(0, np.int32)


def load_or_prove(
    llama: llama_cpp.Llama, target: LlamaTarget, curve: CostCurve, persistence: Persistence | None
) -> tuple[int, ...]:
    """Load the proof of this model, build, machine and settings; prove and save it if unknown.

    Args:
        llama: the model; its history is empty before and afterwards.
        target: works on the context of the model.
        curve: its costs.
        persistence: where proofs are kept, None for nowhere.

    Returns:
        The widths whose logits have the bits of width 1, rising, without 1 itself.
    """
    conditions = bit_conditions(llama)
    key = cost_key(conditions)
    proof = persistence.load_proof(key) if persistence is not None else None
    if proof is None:
        log.info("trying which batch widths give the bits of plain decoding (once) ...")
        proof = prove(llama, target, curve)
        if persistence is not None and _is_complete(proof):
            persistence.save_proof(key, proof, conditions)
    return proved(proof)


def proved(proof: Proof) -> tuple[int, ...]:
    """The widths whose logits had the bits of width 1 at every history, rising."""
    first, *others = proof.values()
    return tuple(
        width
        for width in sorted(first)
        if all(found.get(width) == 0.0 for found in (first, *others))
    )


def prove(
    llama: llama_cpp.Llama, target: LlamaTarget, curve: CostCurve, *, whole: bool = False
) -> Proof:
    """Compare evaluations of several widths with plain decoding.

    Args:
        llama: the model; its history is empty afterwards.
        target: works on the context of the model.
        curve: its costs, from which it follows how many widths can be tried in PROOF_SECONDS.
        whole: find the largest difference of every width at every history; else a width is left
            as soon as it differs.

    Returns:
        See `store.Proof`.
    """
    llama.reset()
    target.truncate(0)
    room = int(llama._n_ctx)
    lengths = [n for n in HISTORIES if n + 2 * ROWS < room] or [max(room // 4, 1)]
    widths = _affordable(curve, room - lengths[-1] - 1 - KEPT, len(lengths))
    rows = max([ROWS, *widths]) + KEPT + 1
    random = np.random.default_rng(1)
    tokens = random.integers(0, llama.n_vocab(), lengths[-1] + rows, np.int32)
    proof: Proof = {}
    began = time.monotonic()
    for length in lengths:
        llama.eval(tokens[llama.n_tokens : length].tolist())
        ahead = tokens[length : min(length + rows, room)]
        plain = [_step(target, token) for token in ahead]
        target.rewind(length)
        proof[length] = {}
        for width in widths:
            proof[length][width] = _difference(target, ahead, plain, width, whole)
            target.rewind(length)
        if not whole:
            widths = [width for width in widths if proof[length][width] == 0.0]
        if time.monotonic() - began > 2 * PROOF_SECONDS:  # the machine is busy
            widths = [width for width in widths if width in FIRST]
    llama.reset()
    target.truncate(0)
    return proof


def _is_complete(proof: Proof) -> bool:
    """Whether no width was left out on the way for lack of time."""
    found = list(proof.values())
    return all(
        width in after
        for before, after in itertools.pairwise(found)
        for width, difference in before.items()
        if difference == 0.0
    )


def _affordable(curve: CostCurve, most: int, histories: int) -> list[int]:
    """Widths to try, rising: the first ones, and others as far as the time goes."""
    widths: list[int] = []
    left = PROOF_SECONDS / histories
    for width in (*FIRST[1:], *THEN):
        seconds = curve.scale * curve.ratio(width) * max(ROWS // width, 1)
        if width <= most and (width in FIRST or seconds <= left):
            widths.append(width)
            left -= seconds
    return sorted(widths)


def _difference(
    target: LlamaTarget, tokens: Int32Array, plain: list[Float32Array], width: int, whole: bool
) -> float:
    """Evaluate tokens after the history in batches of one width.

    First a draft whose second half is wrong and dropped again, then drafts that are right, and a
    plain step, which reads the KV cells that all of them wrote.

    Args:
        tokens: int32 (rows,).
        plain: the logits of each of them by plain decoding.
        whole: go on where bits differ.

    Returns:
        Largest difference of a logit, 0 where all bits are equal.
    """
    kept = min(width // 2, KEPT)
    draft = tokens[:width].copy()
    draft[kept:] = draft[kept:][::-1] + 1  # any others
    draft[kept:] %= target.n_vocab
    # A small context has room for fewer; `prove` sees to it that there is room for one.
    batches = min(max(ROWS // width, 1), (len(tokens) - kept - 1) // width)
    worst, place = 0.0, 0
    for right in (kept, *[width] * batches, 1):
        batch = draft if place == 0 else tokens[place : place + right]
        chain = np.arange(-1, len(batch) - 2, dtype=np.int32)
        rows = target.evaluate(int(batch[0]), batch[1:], chain)
        worst = max(worst, *map(_farthest, rows[:right], plain[place : place + right]))
        for row in range(right):
            target.advance(row)
        target.settle()
        place += right
        if worst > 0.0 and not whole:
            break
    return worst


def _step(target: LlamaTarget, token: int) -> Float32Array:
    logits: Float32Array = target.evaluate(int(token), _NONE, _NONE)[0].copy()
    target.advance(0)
    target.settle()
    return logits


def _farthest(row: Float32Array, other: Float32Array) -> float:
    """Largest difference of two rows of logits, 0 only where all bits are equal."""
    if np.array_equal(row.view(np.uint32), other.view(np.uint32)):
        return 0.0
    difference = float(np.abs(row - other).max())
    return max(difference, float(np.finfo(np.float32).tiny)) if difference >= 0 else np.inf
