"""Saved KV states: a conversation that is taken up again need not be evaluated again.

Only a convenience: a state that is missing, stale, too large or damaged costs an evaluation of
the text and nothing else. So no fault here reaches the user.

Knows files, their sizes and ages. Does not know what is in them.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import platformdirs

from aded_edge.errors import AdedError
from aded_edge.runtime.llama import Llama

MOST_BYTES = 1 << 30
"""All states together; the oldest are thrown away first."""


def default_folder() -> Path:
    """Where they lie: in the user's cache folder of this platform."""
    return Path(platformdirs.user_cache_dir("aded-edge", appauthor=False)) / "kv"


class KVStates:
    """The states in one folder.

    Args:
        folder: made when the first is saved.
        most_bytes: what all may take.
    """

    def __init__(self, folder: Path | None = None, most_bytes: int = MOST_BYTES) -> None:
        self.folder = folder or default_folder()
        self._most = most_bytes

    def save(self, llama: Llama, conversation: str) -> bool:
        """Saves the state of a conversation, named by its uid; False if that was not possible."""
        try:
            size = llama.kv_bytes
            if llama.n_tokens == 0 or size > self._most:
                return False
            self._prune(self._most - size)
            llama.save_kv(self._path(conversation))
        except (AdedError, OSError):
            return False
        return True

    def load(self, llama: Llama, conversation: str) -> int:
        """Takes up a state; returns how many tokens are known, 0 if there is none that fits."""
        path = self._path(conversation)
        if not path.exists():
            return 0
        try:
            tokens = llama.load_kv(path)
        except AdedError:
            return 0
        if not tokens:
            self.remove(conversation)
        return tokens

    def remove(self, conversation: str) -> None:
        """Throws a state away."""
        with contextlib.suppress(OSError):
            self._path(conversation).unlink(missing_ok=True)

    def clear(self) -> None:
        """Throws all of them away."""
        with contextlib.suppress(OSError):
            for path in self._files():
                path.unlink(missing_ok=True)

    def _path(self, conversation: str) -> Path:
        return self.folder / f"{conversation}.kv"

    def _prune(self, most: int) -> None:
        if not self.folder.is_dir():
            return
        files = [(path.stat().st_mtime, path.stat().st_size, path) for path in self._files()]
        total = sum(size for _, size, _ in files)
        for _, size, path in sorted(files):
            if total <= most:
                return
            path.unlink(missing_ok=True)
            total -= size

    def _files(self) -> list[Path]:
        # What a killed process was writing counts too, and goes first.
        return [path for path in self.folder.iterdir() if path.suffix in (".kv", ".part")]
