"""Saved KV states: a resumed conversation need not be evaluated again.

A state only saves time: if it is missing, outdated, too large or damaged, the text is evaluated
again. So this module reports no fault to the user.

Knows files, their sizes and ages. Does not know their content.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import platformdirs

from aded_edge.errors import AdedError
from aded_edge.runtime.llama import Llama

MOST_BYTES = 1 << 30
"""Limit for all states together, in bytes; the oldest are deleted first."""


def default_folder() -> Path:
    """The default folder: `kv` in the platform's folder for caches."""
    return Path(platformdirs.user_cache_dir("aded-edge", appauthor=False)) / "kv"


class KVStates:
    """The states in one folder.

    Args:
        folder: created when the first state is saved; None for the default.
        most_bytes: limit for all states together.
    """

    def __init__(self, folder: Path | None = None, most_bytes: int = MOST_BYTES) -> None:
        self.folder = folder or default_folder()
        self._most = most_bytes

    def save(self, llama: Llama, conversation: str) -> bool:
        """Save the model's KV as the state of a conversation.

        Args:
            llama: the model, whose context holds the conversation.
            conversation: uid of the conversation.

        Returns:
            False if there was nothing to save, or it could not be saved.
        """
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
        """Load the state of a conversation into the model's context.

        Args:
            llama: the model.
            conversation: uid of the conversation.

        Returns:
            The number of tokens loaded; 0 if there is no state that fits this model.
        """
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

    def remove(self, conversation: str) -> bool:
        """Delete the state of a conversation, given by its uid; return whether it is gone.

        Also deletes the unfinished files of processes that were killed while they wrote it.
        """
        try:
            for path in self.folder.glob(f"{conversation}.kv*"):
                path.unlink(missing_ok=True)
        except OSError:
            return False
        return True

    def clear(self) -> None:
        """Delete all states."""
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
        # Includes the unfinished file of a process that was killed while it wrote a state.
        return [path for path in self.folder.iterdir() if path.suffix in (".kv", ".part")]
