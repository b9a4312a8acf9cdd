"""Prompts evaluated once for all decoders: files with their KV caches, which any context can load.

A file has the KV cache of a prompt without its last token. A decoder that loads it evaluates the
last token itself. So each decoder computes its own logits, and all start from the same bits.

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
"""Bound of the size of all files together. The least recently used ones are deleted first; a
deleted file is made again when it is needed."""


class EvaluatedPrompts:
    """A folder with the KV caches of prompts.

    Args:
        folder: an empty folder.
        most_bytes: bound of its size; a single file may exceed it.
    """

    def __init__(self, folder: Path, most_bytes: int = KEPT_BYTES) -> None:
        self.folder = folder
        self.most_bytes = most_bytes
        self._sizes: dict[str, int] = {}  # least recently used first

    def file(self, llama: llama_cpp.Llama, prompt: list[int]) -> Path:
        """Return the file of a prompt, which stays valid until the next call.

        Args:
            llama: evaluates the prompt if there is no file yet.
            prompt: its tokens.

        Raises:
            BenchError: the file cannot be written.
        """
        tokens = np.asarray(prompt[:-1], np.int32)
        name = hashlib.sha256(tokens.tobytes()).hexdigest()[:32] + ".kv"
        path = self.folder / name
        size = self._sizes.pop(name, None)
        if size is None:
            llama.reset()  # from the beginning: the bits must not depend on the order of prompts
            llama.eval(tokens.tolist())
            size = _write(llama, path, tokens)
        self._sizes[name] = size
        while len(self._sizes) > 1 and sum(self._sizes.values()) > self.most_bytes:
            oldest = next(iter(self._sizes))
            del self._sizes[oldest]
            (self.folder / oldest).unlink()
        return path


def load_kv(llama: llama_cpp.Llama, path: Path) -> None:
    """Replace a context's history and KV cache by those in a file.

    Raises:
        BenchError: llama.cpp cannot read the file.
    """
    if not load_sequence(llama, path):
        raise BenchError(
            f"llama.cpp cannot read the KV cache of a prompt back from {path}; check that nothing "
            "else writes to its folder, or set TMPDIR to another folder"
        )


def _write(llama: llama_cpp.Llama, path: Path, tokens: Int32Array) -> int:
    written = save_sequence(llama, path, tokens)
    if not written:
        raise BenchError(
            f"cannot write the KV cache of a prompt to {path.parent}; the run needs up to "
            f"{KEPT_BYTES >> 30} GiB there: make room, or set TMPDIR to another folder"
        )
    return written
