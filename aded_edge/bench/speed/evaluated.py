"""Prompts evaluated once for all decoders: their KV as files, which any context can take up.

What is kept is the KV of a prompt without its last token. Whoever takes it up evaluates that
one: its logits are then everybody's own, and come from the same bits.

Knows llama.cpp's sequence files, which its server reads too. Does not know decoders or dialogs.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from aded_edge.arrays import Int32Array
from aded_edge.errors import BenchError
from aded_edge.llamacpp.state import load_sequence, save_sequence

if TYPE_CHECKING:
    import llama_cpp

KEPT_BYTES = 4 << 30
"""What the files may take together; those used longest ago are dropped, and made again."""


class EvaluatedPrompts:
    """The KV of prompts, in a folder.

    Args:
        folder: an empty one.
        most_bytes: bound of its size; a single file may exceed it.
    """

    def __init__(self, folder: Path, most_bytes: int = KEPT_BYTES) -> None:
        self.folder = folder
        self.most_bytes = most_bytes
        self._sizes: dict[str, int] = {}  # used longest ago first

    def file(self, llama: llama_cpp.Llama, prompt: list[int]) -> Path:
        """The file of a prompt, evaluated by `llama` if it is not there; valid until the next call.

        Raises:
            BenchError: it cannot be written.
        """
        tokens = np.asarray(prompt[:-1], np.int32)
        name = hashlib.sha256(tokens.tobytes()).hexdigest()[:32] + ".kv"
        path = self.folder / name
        size = self._sizes.pop(name, None)
        if size is None:
            llama.reset()  # always from the beginning: then the bits do not depend on the order
            llama.eval(tokens.tolist())
            size = _write(llama, path, tokens)
        self._sizes[name] = size
        while len(self._sizes) > 1 and sum(self._sizes.values()) > self.most_bytes:
            oldest = next(iter(self._sizes))
            del self._sizes[oldest]
            (self.folder / oldest).unlink()
        return path


def take_up(llama: llama_cpp.Llama, path: Path) -> None:
    """Gives a context the history and the KV of a file, in place of its own.

    Raises:
        BenchError: llama.cpp refuses the file.
    """
    if not load_sequence(llama, path):
        raise BenchError(f"llama.cpp cannot read the KV of a prompt back from {path}")


def _write(llama: llama_cpp.Llama, path: Path, tokens: Int32Array) -> int:
    written = save_sequence(llama, path, tokens)
    if not written:
        raise BenchError(
            f"cannot keep the KV of a prompt in {path.parent}; it takes up to "
            f"{KEPT_BYTES >> 30} GiB: make room, or set TMPDIR to another folder"
        )
    return written
