"""The target of a model with a recurrent memory: Qwen3.5, LFM2, Nemotron-H and others.

A recurrent layer keeps one state, which each token changes. llama.cpp keeps copies of the state,
one for each of the last `n_rs_seq` tokens of the last batch, so that a rejected draft can be taken
back (`llama_memory_seq_rm`). Three rules follow, which llama.cpp does not check:

- The copies reach back over the last batch, down to the state behind its first token. A deeper
  removal is answered with True, and the state is that of other tokens.
- Of a batch one removal is possible. A second one is refused.
- A state that was restored, or left by a failed batch, has no copies.

So this target knows how far the copies reach, and asks for nothing else. Where they do not reach
(a prompt that continues an earlier one elsewhere, an interruption before any token was accepted) it
restores a checkpoint, or evaluates the history again when it is next needed.

Does not know where drafts come from; they must be chains, as a state cannot branch.
"""

from __future__ import annotations

import llama_cpp
import numpy as np

from aded_edge.arrays import Int32Array
from aded_edge.errors import EvaluationError

from .checkpoints import Checkpoints
from .context import NO_TOKEN, bind_batch, is_recurrent, reopen
from .rpc import check_workers
from .target import LAST_ROW, LlamaTarget
from .window import holds_window

SNAPSHOTS = (7, 3)
"""Copies of the state that may be kept; a draft has as many tokens at most. Not more, because
Qwen3.5 copies some of its states in every step as many times: 15 cost a plain step 8 to 17 % on a
CPU, 7 cost 5 to 10 % (docs/models.md)."""

SNAPSHOT_BYTES = 64 << 20
"""Memory for these copies, which a model may always use."""

SNAPSHOT_SHARE = 4
"""They may also have this part of the memory of the weights: one in so many bytes."""

TAIL = 8
"""A checkpoint lies so many tokens before the end of a prompt. The same prompt needs all but its
last token, and a template that shows an answer otherwise than it was asked for (without its
thoughts) parts from the prompt in the last tokens."""

NO_ROLLBACK = "llama.cpp cannot take tokens back from this architecture's recurrent memory"
"""`Stats.plain_because` of Mamba, Granite-hybrid and others."""

NO_ROOM = f"n_ubatch is too small to take tokens back; give {SNAPSHOTS[-1] + 2} or more"
"""The same for a recurrent model that is opened for very narrow batches."""

_NOWHERE = (-1, -1)


class RecurrentTarget(LlamaTarget):
    """A context opened by `open_recurrent_context`, in which chains of tokens are drafted.

    Args:
        llama: the model, whose history is read and extended.
    """

    def __init__(self, llama: llama_cpp.Llama) -> None:
        super().__init__(llama)
        self._snapshots = int(llama_cpp.llama_n_rs_seq(self._ctx))
        self._reach = _NOWHERE
        self._checkpoints = Checkpoints(self._ctx)

    @property
    def max_nodes(self) -> int:
        """The most draft nodes that can be taken back after the next evaluation."""
        return min(super().max_nodes, self._snapshots)

    def submit(self, root: int, tokens: Int32Array, parents: Int32Array) -> None:
        """Start the evaluation of the root and a chain; see `LlamaTarget.submit`."""
        self.settle()
        tried = self._evaluations
        if self._ctx is not None:
            self.bring_back()
            end = int(self._llama.n_tokens) + len(tokens) + 1
            # Noted before the evaluation, so that it holds after an interruption from there on:
            # it counts only while the memory ends where this batch ends.
            self._reach = (end - len(tokens), end)
        try:
            super().submit(root, tokens, parents)
        except EvaluationError:
            if self._evaluations != tried:
                self.truncate(0)  # the state after a failed batch is unknown
            raise

    def truncate(self, length: int) -> bool:
        """Drop what the memory holds from position `length` on.

        Returns:
            False if that is not possible; the memory is as before, or empty.
        """
        if length > 0:
            end = self._end()
            if length >= end:
                return True
            first, last = self._reach
            if end != last or length < first:
                return False
        self._reach = _NOWHERE
        self._checkpoints.drop_behind(length)
        whole = super().truncate(length if length > 0 else -1)
        if not whole:  # a sliding window has holes now
            super().truncate(-1)
        return whole

    def _cut(self, length: int) -> None:
        self.truncate(length)  # where it cannot, bring_back() makes up for it

    def bring_back(self) -> None:
        """Make the memory hold the history and nothing else.

        Raises:
            EvaluationError: llama.cpp could not evaluate the history again.
        """
        length, end = int(self._llama.n_tokens), self._end()
        if end == length or (end > length and self.truncate(length)):
            return
        if 0 < end < length and (self._llama.input_ids[end:length] == NO_TOKEN).all():
            return  # a picture has more places in the history than positions
        self.row = LAST_ROW
        self._evaluate_again(self._restore(length), length)

    def cut_back(self, length: int) -> int:
        """Cut the memory back to the longest beginning of the history that it can be cut back to.

        Args:
            length: the most tokens to keep.

        Returns:
            Number of tokens that are kept; 0 for none.
        """
        if length <= self._end() and self.truncate(length):
            return length
        return self._restore(length)

    def mark(self) -> None:
        """Take a checkpoint: a copy of the state after the history."""
        self.bring_back()
        self._checkpoints.take(int(self._llama.n_tokens))

    def read(self, tokens: list[int], shared: int) -> None:
        """Evaluate the rest of a prompt, and take checkpoints where other prompts may part from it.

        Args:
            tokens: what follows the history.
            shared: number of tokens that the prompt shares with the history before it. Where two
                prompts parted, a third may part.
        """
        llama = self._llama
        known = int(llama.n_tokens)
        whole = known + len(tokens)
        for place in sorted({shared, whole - TAIL}):
            at = int(llama.n_tokens)
            if max(at, 1) <= place < whole:
                if place > at:
                    llama.eval(tokens[at - known : place - known])
                self.mark()
        llama.eval(tokens[int(llama.n_tokens) - known :])

    def evaluated_elsewhere(self) -> None:
        """Note that llama_cpp itself evaluated or restored something."""
        super().evaluated_elsewhere()
        self._reach = _NOWHERE
        self._checkpoints.drop_behind(self._end())

    def _end(self) -> int:
        """Number of tokens in the memory."""
        return int(llama_cpp.llama_memory_seq_pos_max(self._memory, 0)) + 1

    def _restore(self, length: int) -> int:
        """Go back to the last checkpoint of at most this length; return its length.

        Without one the memory is empty afterwards, and the result is 0.
        """
        self._reach = _NOWHERE
        place = self._checkpoints.restore(length) if length <= self._end() else 0
        if place == 0 or not holds_window(self._llama, place):
            self.truncate(0)
            return 0
        return place

    def _evaluate_again(self, begin: int, end: int) -> None:
        """Evaluate a part of the history, of which the memory holds the beginning."""
        llama = self._llama
        if (llama.input_ids[begin:end] == NO_TOKEN).any():
            raise EvaluationError(
                "the picture or sound that this answer is about is no longer in memory; give it "
                "again, as a message of create_chat_completion()"
            )
        pieces = range(begin, end, llama.n_batch)
        for start in pieces:
            stop = min(start + int(llama.n_batch), end)
            tokens = llama.input_ids[start:stop].astype(np.int32)
            positions = np.arange(start, stop, dtype=np.int32)
            outputs = np.zeros(len(tokens), np.int8)
            outputs[-1] = 1
            counts = np.ones(len(tokens), np.int32)
            pointers = np.full(len(tokens), self._ids.ctypes.data, np.uintp)
            batch = bind_batch(tokens, positions, counts, pointers, outputs)
            code = int(llama_cpp.llama_decode(self._ctx, batch))
            if code != 0:
                self.truncate(0)
                check_workers(llama)
                raise EvaluationError(
                    f"llama_decode returned {code} while {end} tokens were evaluated again; call "
                    "reset() and ask again"
                )


def open_target(llama: llama_cpp.Llama) -> LlamaTarget:
    """The target for a model's context as it is open now."""
    return RecurrentTarget(llama) if is_recurrent(llama) else LlamaTarget(llama)


def why_no_rollback(llama: llama_cpp.Llama) -> str | None:
    """Why rejected drafts cannot be taken back; None if they can.

    A recurrent model's context is opened again for that, see `open_recurrent_context`.
    """
    if not is_recurrent(llama) or open_recurrent_context(llama):
        return None
    return NO_ROLLBACK if _room(llama) >= SNAPSHOTS[-1] else NO_ROOM


def open_recurrent_context(llama: llama_cpp.Llama) -> int:
    """Reopen a recurrent model's context so that rejected drafts can be taken back.

    Returns:
        The most tokens that can be taken back; 0 where llama.cpp cannot do that for this
        architecture.

    Raises:
        ModelError: there is not enough memory, or the LoRA adapter does not fit.
    """
    room = _room(llama)
    if room < SNAPSHOTS[-1] or not _reopened(llama, SNAPSHOTS[-1]):
        return 0
    # The first token of the vocabulary, whichever it is: the size of a state is asked for.
    llama.eval([0])
    state = llama_cpp.llama_state_seq_get_size_ext(
        llama.ctx, 0, llama_cpp.LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY
    )
    llama.reset()
    most = max(SNAPSHOT_BYTES, llama._model.size() // SNAPSHOT_SHARE)
    fitting = [n for n in SNAPSHOTS if n <= room and n * state <= most]
    if fitting and fitting[0] != SNAPSHOTS[-1]:
        _reopened(llama, fitting[0])
    return int(llama_cpp.llama_n_rs_seq(llama.ctx))


def _room(llama: llama_cpp.Llama) -> int:
    return int(llama.context_params.n_ubatch) - 2  # llama.cpp ends the process if it has less


def _reopened(llama: llama_cpp.Llama, snapshots: int) -> int:
    """Open the context for so many snapshots; return how many llama.cpp keeps."""
    unified = bool(llama.context_params.kv_unified)
    reopen(llama, n_seq_max=1, kv_unified=unified, n_rs_seq=snapshots)
    return int(llama_cpp.llama_n_rs_seq(llama.ctx))
