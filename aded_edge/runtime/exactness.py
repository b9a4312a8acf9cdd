"""The proof of exactness: which batch widths give the bits of plain decoding, by trying them.

llama.cpp has other kernels for several rows than for one, and they may add in another order. Which
do depends on the build, the machine, the types of the tensors and the length of the history. So a
width counts as proved only if all its logits were equal bit for bit at every history that was
tried. Unequal sums are often rounded to equal bits further on; so many rows are compared.

Knows how widths are compared and where proofs are kept. Does not know what a proof is used for.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from aded_edge.arrays import Float32Array, Int32Array
from aded_edge.decode.cost_curve import CostCurve
from aded_edge.decode.measuring import FIRST, THEN
from aded_edge.llamacpp.fingerprint import bit_conditions, cost_key
from aded_edge.llamacpp.target import LlamaTarget
from aded_edge.store import Proof

from .persistence import Persistence

if TYPE_CHECKING:
    import llama_cpp

log = logging.getLogger("aded_edge")

METHOD = 2
"""Number of this way to compare. A proof that was found in another way is not used."""

HISTORIES = (40, 248, 300, 504, 600, 1500)
"""Tokens before the rows that are compared. llama.cpp attends over cells in blocks of 256, and has
other kernels from 512 on: so the rows lie before these borders, across them, and behind them. With
8 tokens to a border, every width has a batch with compared rows on both sides of it."""

ROWS = 32
"""Rows of each width that are compared at each history, at least."""

KEPT = 7
"""The most rows that are kept of a draft whose rest is wrong."""

PROOF_SECONDS = 20.0
"""Rough time for a proof. On a slow model fewer widths are tried, but the first ones always: these
take as long as 500 to 1000 plain steps, and the reading of the longest history."""

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
    conditions = proof_conditions(llama)
    key = cost_key(conditions)
    proof = persistence.load_proof(key) if persistence is not None else None
    if proof is None or sorted(proof) != _lengths(llama._n_ctx):
        log.info("trying which batch widths give the bits of plain decoding (once) ...")
        proof = prove(llama, target, curve)
        if persistence is not None:
            persistence.save_proof(key, proof, conditions)
    return proved(proof)


def proof_conditions(llama: llama_cpp.Llama) -> dict[str, Any]:
    """Everything that a proof depends on: what the bits depend on, and how they are compared."""
    method = {"method": METHOD, "histories": HISTORIES, "rows": ROWS, "kept": KEPT}
    return {**bit_conditions(llama), "proof": method}


def proved(proof: Proof) -> tuple[int, ...]:
    """The widths whose logits had the bits of width 1 at every history, rising.

    A width that was not compared at every history does not count, for whatever reason.
    """
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
        curve: its costs, from which it follows how many widths can be tried in PROOF_SECONDS. If
            it takes twice as long all the same, only the first widths are tried from there on.
        whole: find the largest difference of every width at every history; else a width is left
            as soon as it differs.

    Returns:
        See `store.Proof`. All histories are in it, also where no width was left to try.
    """
    llama.reset()
    target.truncate(0)
    room = int(llama._n_ctx)
    lengths = _lengths(room)
    most = min(target.max_nodes + 1, room - lengths[-1] - 1 - KEPT)
    widths = _affordable(curve, most, lengths)
    rows = _rows(widths)
    random = np.random.default_rng(1)
    tokens = random.integers(0, llama.n_vocab(), lengths[-1] + rows, np.int32)
    proof: Proof = {length: {} for length in lengths}
    began = time.monotonic()
    for length in lengths:
        if not widths:
            break
        llama.eval(tokens[llama.n_tokens : length].tolist())
        target.mark()
        ahead = tokens[length : min(length + rows, room)]
        plain = [_step(target, token) for token in ahead]
        target.rewind(length)
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


def _lengths(room: int) -> list[int]:
    """The histories that are tried in a context of so many tokens, rising."""
    return [n for n in HISTORIES if n + 2 * ROWS < room] or [max(room // 4, 1)]


def _affordable(curve: CostCurve, most: int, lengths: Sequence[int]) -> list[int]:
    """Widths to try, rising: the first ones, and others as far as the time goes."""
    widths = [width for width in FIRST[1:] if width <= most]
    for width in THEN:
        more = [*widths, width]
        if width <= most and _seconds(curve, more, lengths) <= PROOF_SECONDS:
            widths = more
    return sorted(widths)


def _seconds(curve: CostCurve, widths: Sequence[int], lengths: Sequence[int]) -> float:
    """Time that a proof takes if no width is left early, about."""
    widest = int(curve.widths[-1])
    reading = lengths[-1] * curve.ratio(widest) / widest
    plain = _rows(widths) + len(widths)  # each width ends with a plain step
    wide = sum(curve.ratio(width) * (_batches(width) + 1) for width in widths)
    return curve.scale * (reading + len(lengths) * (plain + wide))


def _rows(widths: Sequence[int]) -> int:
    """Rows of plain decoding with which batches of these widths are compared, per history."""
    return max([ROWS, *widths]) + KEPT + 1


def _batches(width: int) -> int:
    """Number of batches of right drafts, per history."""
    return max(ROWS // width, 1)


def _right_rows(width: int, rows: int) -> list[int]:
    """Rows to compare of each evaluation of a width; each one begins where the last one ended.

    Args:
        width: rows of an evaluation.
        rows: rows of plain decoding that there are.
    """
    kept = min(width // 2, KEPT)
    # A small context has room for fewer; `prove` sees to it that there is room for one.
    batches = min(_batches(width), (rows - kept - 1) // width)
    return [kept, *[width] * batches, 1]


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
    right_rows = _right_rows(width, len(tokens))
    kept = right_rows[0]
    draft = tokens[:width].copy()
    draft[kept:] = draft[kept:][::-1] + 1  # any others
    draft[kept:] %= target.n_vocab
    worst, place = 0.0, 0
    for right in right_rows:
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
