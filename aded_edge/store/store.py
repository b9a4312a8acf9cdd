"""The matrix store as the rest of the package sees it: one object for one file.

Knows where the file lies by default and what can be asked of it. Does not know how: `database.py`
keeps the file; `matrix.py`, `costs.py`, `conversations.py`, `memories.py` and `notes.py` keep what
is in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import final

import platformdirs

from . import costs
from .conversations import Conversations
from .database import IN_MEMORY, StoreFile
from .memories import Memories
from .notes import Notes
from .parts import MatrixSize, ModelParts, matrix_sizes


def default_store_path() -> Path:
    """Where the store lies unless told otherwise: in the user's data folder of this platform."""
    return Path(platformdirs.user_data_dir("aded-edge", appauthor=False)) / "store.db"


@final
class Store:
    """An open matrix store; also a context manager. Open it with `Store.open`.

    Any thread may use it; one transaction runs at a time, and others wait for it.

    Attributes:
        conversations: what was said.
        memories: what the user wants remembered.
        notes: documents that are searched.
    """

    def __init__(self, file: StoreFile) -> None:
        self._file = file
        self.conversations = Conversations(file)
        self.memories = Memories(file)
        self.notes = Notes(file)

    @classmethod
    def open(cls, path: Path, *, read_only: bool = False, busy_timeout: float = 5.0) -> Store:
        """Opens a store and brings its schema up to date; creates folders and file if need be.

        Args:
            path: the file.
            read_only: change nothing, create nothing.
            busy_timeout: seconds to wait for a lock that another process holds.

        Raises:
            StoreError: the file is damaged, locked, of a newer version, no matrix store, a
                folder, or cannot be created. It is left as it was.
        """
        return cls(StoreFile(path, read_only=read_only, busy_timeout=busy_timeout))

    @classmethod
    def in_memory(cls) -> Store:
        """A store that never touches a disk, and is gone when it is closed."""
        return cls(StoreFile(IN_MEMORY))

    @property
    def path(self) -> Path:
        """The file."""
        return self._file.path

    @property
    def read_only(self) -> bool:
        """Whether the store can be loaded but not written, by wish or because it has to be."""
        return self._file.read_only

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was found damaged and passed over so far, in words for the user."""
        return tuple(self._file.warnings)

    def model(self, fingerprint: str, name: str) -> ModelParts:
        """What was learned about one model. Nothing is read or written yet.

        Args:
            fingerprint: what tells the model from others.
            name: what people call it.
        """
        return ModelParts(self._file, fingerprint, name)

    def sizes(self) -> list[MatrixSize]:
        """What each model's matrix holds. Raises StoreError if the file cannot be read."""
        return matrix_sizes(self._file)

    def load_costs(self, key: str) -> dict[int, float] | None:
        """Seconds of one evaluation by width, or None; see `costs.load_costs`."""
        return costs.load_costs(self._file, key)

    def save_costs(
        self, key: str, curve: Mapping[int, float], conditions: Mapping[str, object]
    ) -> None:
        """Keeps a cost curve under a key; see `costs.save_costs`."""
        costs.save_costs(self._file, key, curve, conditions)

    def close(self) -> None:
        """Closes the file, after the transaction that is running. Closing twice is no fault."""
        self._file.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
