"""`Store`: one object for one store file, as the other rooms use it.

Knows where the file is by default, and which module answers for which tables: `parts.py`,
`costs.py`, `proofs.py`, `conversations.py`, `memories.py` and `notes.py`. `database.py` opens the
file and runs transactions.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import final

import platformdirs

from . import costs, proofs
from .conversations import Conversations
from .database import IN_MEMORY, StoreFile
from .memories import Memories
from .messages import Conversation
from .notes import Notes
from .parts import MatrixSize, ModelParts, matrix_sizes
from .working_copy import WorkingCopy


def default_store_path() -> Path:
    """The default store: `store.db` in the platform's folder for user data."""
    return Path(platformdirs.user_data_dir("aded-edge", appauthor=False)) / "store.db"


@final
class Store:
    """An open store; also a context manager. Create it with `Store.open` or `Store.in_memory`.

    Any thread may use it; one transaction runs at a time, and others wait for it.

    Attributes:
        conversations: all conversations and their messages.
        memories: the texts that the user asked to remember.
        notes: the user's documents.
    """

    def __init__(self, file: StoreFile) -> None:
        self._file = file
        self.conversations = Conversations(file)
        self.memories = Memories(file)
        self.notes = Notes(file)

    @classmethod
    def open(cls, path: Path, *, read_only: bool = False, busy_timeout: float = 5.0) -> Store:
        """Open a store and migrate its schema; create the file and its folders if they are missing.

        Args:
            path: the file.
            read_only: change nothing and create nothing.
            busy_timeout: seconds to wait for a lock that another process holds.

        Raises:
            StoreError: the file is damaged, locked, made by a newer version, not a store, a
                folder, or cannot be created. An existing file is left unchanged.
        """
        return cls(StoreFile(path, read_only=read_only, busy_timeout=busy_timeout))

    @classmethod
    def in_memory(cls) -> Store:
        """Open a new store that never touches a disk and is lost when it is closed."""
        return cls(StoreFile(IN_MEMORY))

    @property
    def path(self) -> Path:
        """The path of the file."""
        return self._file.path

    @property
    def read_only(self) -> bool:
        """Whether the store refuses to write: opened so, or the file or folder is not writable."""
        return self._file.read_only

    @property
    def warnings(self) -> tuple[str, ...]:
        """Damaged rows that were ignored so far, in words for the user."""
        return tuple(self._file.warnings)

    def model(self, fingerprint: str, name: str) -> ModelParts:
        """The parts that were learned about one model. Nothing is read or written yet.

        Args:
            fingerprint: identifies the model, whatever its file is called.
            name: name of the model, for people.
        """
        return ModelParts(self._file, fingerprint, name)

    def begin(self, conversation: Conversation) -> WorkingCopy:
        """A working copy of a conversation that the store does not have yet."""
        return WorkingCopy(self._file, conversation)

    def take_up(self, number: int | None = None) -> WorkingCopy | None:
        """A working copy of the conversation with this number, or of the last one; None without it.

        Raises:
            StoreError: the file cannot be read.
        """
        return WorkingCopy.read(self._file, number)

    def sizes(self) -> list[MatrixSize]:
        """The size of each model's matrix. Raises StoreError if the file cannot be read."""
        return matrix_sizes(self._file)

    def forget_learned(self, name: str | None = None) -> tuple[list[str], bool]:
        """Delete all that was learned about the models of this name; None for every model.

        Returns:
            The names of the models, and whether nothing of it is left in the file; see `scrub`.
        """
        with self._file.writing() as conn:
            which = "WHERE ? IS NULL OR name = ?"
            rows = conn.execute(f"SELECT name FROM models {which} ORDER BY name", (name, name))
            names = [found for (found,) in rows]
            conn.execute(f"DELETE FROM models {which}", (name, name))
        return names, self._file.scrub()

    def scrub(self) -> bool:
        """Overwrite remnants of what was deleted; see `StoreFile.scrub`."""
        return self._file.scrub()

    def load_costs(self, key: str) -> dict[int, float] | None:
        """The cost curve under a key, or None; see `costs.load_costs`."""
        return costs.load_costs(self._file, key)

    def save_costs(
        self, key: str, curve: Mapping[int, float], conditions: Mapping[str, object]
    ) -> None:
        """Save a cost curve under a key; see `costs.save_costs`."""
        costs.save_costs(self._file, key, curve, conditions)

    def load_proof(self, key: str) -> proofs.Proof | None:
        """The proof of exactness under a key, or None; see `proofs.load_proof`."""
        return proofs.load_proof(self._file, key)

    def save_proof(
        self,
        key: str,
        proof: Mapping[int, Mapping[int, float]],
        conditions: Mapping[str, object],
    ) -> None:
        """Save a proof of exactness under a key; see `proofs.save_proof`."""
        proofs.save_proof(self._file, key, proof, conditions)

    def close(self) -> None:
        """Close the file after the running transaction. Closing twice is no error."""
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
