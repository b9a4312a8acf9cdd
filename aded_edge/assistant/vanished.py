"""Vanished files: whether a document that was not found again was deleted by the user.

What conversations were given of a deleted file is deleted as well, which cannot be undone. So only
a file that is certainly deleted counts: an unmounted disk, an unreadable folder, or a file that is
no text for a moment looks similar.

Knows names and folders. Does not know the notes, nor what is deleted with a document.
"""

from __future__ import annotations

import os
from enum import Enum, auto
from pathlib import Path


class Fate(Enum):
    """What became of a document that was not found again."""

    DELETED = auto()
    """Its file is gone, and the folder is there with other files: all copies may be deleted."""
    NO_DOCUMENT = auto()
    """Its file is too large, empty or no text now, or its whole folder is gone: its passages may
    be deleted, because they are read again if it comes back."""
    AWAY = auto()
    """Nothing may be deleted: a disk may be unmounted, or access was refused."""


class Vanished:
    """Decides what became of documents. It reads each folder once; use it for one refresh only."""

    def __init__(self) -> None:
        self._read: dict[Path, frozenset[str] | None] = {}

    def fate(self, name: str) -> Fate:
        """What became of a document.

        Args:
            name: absolute path of its file as the store keeps it, see `documents.name_of`.
        """
        parent, last = Path(name).parent, os.path.basename(name)
        folder = next(one for one in (parent, *parent.parents) if os.path.lexists(one))
        names = self._names(folder)
        if not names:  # it cannot be read; or it is empty, as the mount point of an unmounted disk
            return Fate.AWAY
        if folder != parent:  # deleted, or a mount point that was removed with its disk
            return Fate.NO_DOCUMENT
        if last in names or os.path.lexists(name):
            return Fate.NO_DOCUMENT if _accessible(name) else Fate.AWAY
        return Fate.DELETED

    def _names(self, folder: Path) -> frozenset[str] | None:
        """The names in a folder as the store keeps them, or None if it cannot be read."""
        if folder not in self._read:
            try:
                names = os.listdir(os.fsencode(folder))
            except OSError:
                self._read[folder] = None
            else:
                self._read[folder] = frozenset(name.decode("utf-8", "replace") for name in names)
        return self._read[folder]


def _accessible(name: str) -> bool:
    try:
        os.stat(name)
    except FileNotFoundError:  # a link to a file that is gone, or a name with undecodable bytes
        return True
    except OSError:
        return False
    return True
