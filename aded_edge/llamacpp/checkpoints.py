"""Copies of a recurrent state, taken while a history is evaluated, to which it can be cut back.

A checkpoint is the recurrent part of the memory alone. The attention's part of the same tokens
must still be in the memory when the checkpoint is restored, so it is dropped when they are.

Knows llama.cpp's states. Does not know tokens, nor which places are worth a checkpoint.
"""

from __future__ import annotations

import ctypes
from typing import Any

import llama_cpp
import numpy as np
import numpy.typing as npt

MOST = 6
"""The most checkpoints."""

MOST_BYTES = 256 << 20
"""The most memory of all checkpoints; one is always kept."""

_PARTIAL = llama_cpp.LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY


class Checkpoints:
    """Checkpoints of sequence 0 of a context.

    Args:
        ctx: llama.cpp's context.
    """

    def __init__(self, ctx: Any) -> None:
        self._ctx = ctx
        self._states: dict[int, npt.NDArray[np.uint8]] = {}  # by number of tokens, rising

    @property
    def places(self) -> list[int]:
        """Number of tokens of each checkpoint, rising."""
        return list(self._states)

    def take(self, length: int) -> None:
        """Copy the state after `length` tokens, which are all that the memory holds."""
        if length in self._states:
            return
        size = llama_cpp.llama_state_seq_get_size_ext(self._ctx, 0, _PARTIAL)
        state = np.empty(size, np.uint8)
        written = llama_cpp.llama_state_seq_get_data_ext(
            self._ctx, _bytes(state), size, 0, _PARTIAL
        )
        if written != size:
            return
        self._states = dict(sorted({**self._states, length: state}.items()))
        while len(self._states) > MOST or (
            len(self._states) > 1 and sum(s.size for s in self._states.values()) > MOST_BYTES
        ):
            # The first one is kept (it is usually behind the system message), and the last ones.
            del self._states[self.places[min(1, len(self._states) - 2)]]

    def restore(self, length: int) -> int:
        """Go back to the last checkpoint of at most `length` tokens.

        Returns:
            Its number of tokens. 0 if there is none, or llama.cpp refused; then the state is
            unknown.
        """
        self.drop_behind(length)
        if not self._states:
            return 0
        place, state = list(self._states.items())[-1]
        read = llama_cpp.llama_state_seq_set_data_ext(
            self._ctx, _bytes(state), state.size, 0, _PARTIAL
        )
        memory = llama_cpp.llama_get_memory(self._ctx)
        if (
            read != state.size
            or not llama_cpp.llama_memory_seq_rm(memory, 0, place, -1)
            or llama_cpp.llama_memory_seq_pos_max(memory, 0) != place - 1
        ):
            self._states.clear()
            return 0
        return place

    def drop_behind(self, length: int) -> None:
        """Drop the checkpoints of more than `length` tokens."""
        for place in self.places:
            if place > length:
                del self._states[place]


def _bytes(array: npt.NDArray[np.uint8]) -> Any:
    return array.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))
