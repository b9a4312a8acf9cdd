"""The store: what was learned, measured and said, in one SQLite file that outlives the process.

The public names, and nothing else.
"""

from __future__ import annotations

from aded_edge.store.conversations import (
    ALL,
    Conversation,
    Conversations,
    Day,
    Hit,
    Message,
    title_of,
)
from aded_edge.store.learned import Learned, LearnedText
from aded_edge.store.matrix import MatrixSize, ModelStore, Part
from aded_edge.store.memories import Memories, MemoryNote
from aded_edge.store.notes import Document, Notes, Passage
from aded_edge.store.search import any_of, terms
from aded_edge.store.store import Store, default_store_path

__all__ = [
    "ALL",
    "Conversation",
    "Conversations",
    "Day",
    "Document",
    "Hit",
    "Learned",
    "LearnedText",
    "MatrixSize",
    "Memories",
    "MemoryNote",
    "Message",
    "ModelStore",
    "Notes",
    "Part",
    "Passage",
    "Store",
    "any_of",
    "default_store_path",
    "terms",
    "title_of",
]
