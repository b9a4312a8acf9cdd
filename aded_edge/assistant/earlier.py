"""What an assistant knows from before: earlier conversations, and memories.

Knows which of the store's lists an assistant shows. Does not know the running conversation.
"""

from __future__ import annotations

import re

from aded_edge.errors import ConfigError
from aded_edge.store import Conversation, Hit, Memory

from .keeping import Keeping

_REMEMBER = re.compile(r"\s*(?:please\s+)?remember(?:\s+that\s+|\s*:\s*)(.+)", re.I | re.S)


class Earlier:
    """The part of an assistant that reads what is kept, and adds memories.

    Without a store, or after a fault of it, the lists are empty.
    """

    _keeping: Keeping

    def conversations(self, limit: int = 20) -> list[Conversation]:
        """Conversations by their last update, newest first."""
        return self._keeping.read(lambda store: store.conversations.recent(limit)) or []

    def search(self, text: str, limit: int = 20) -> list[Hit]:
        """Find messages of all conversations that contain every word of a text, best first."""
        return self._keeping.read(lambda store: store.conversations.search(text, limit)) or []

    def questions(self) -> list[str]:
        """The last questions of all conversations, oldest first."""
        return self._keeping.read(lambda store: store.conversations.questions()) or []

    def remember(self, text: str) -> None:
        """Add a memory.

        Later conversations begin with the newest memories that fit; other memories are added to
        questions that match them.

        Raises:
            ConfigError: the text is empty, or there is no store to keep it in.
            StoreError: the store cannot be written.
        """
        text = " ".join(text.split())
        if not text:
            raise ConfigError("there is nothing to remember; give a text")
        self._keeping.writable().memories.add(text)

    def memories(self) -> list[Memory]:
        """All memories, oldest first."""
        return self._keeping.read(lambda store: store.memories.all()) or []


def memory_in(text: str) -> str | None:
    """The text that a message asks to be remembered ("remember that ..."), or None."""
    found = _REMEMBER.fullmatch(text)
    return " ".join(found[1].split()) if found else None
