"""The store: what was learned, measured and said, in one SQLite file that outlives the process.

The public names, and nothing else.
"""

from __future__ import annotations

from .conversations import (
    EVERY_MESSAGE,
    AnswerTotals,
    Conversation,
    Conversations,
    Hit,
    Message,
    title_of,
)
from .full_text import any_of, terms
from .memories import Memories, MemoryNote
from .notes import Document, Notes, Passage
from .part import LearnedText, Part
from .parts import MatrixSize, ModelParts, PartRow
from .store import Store, default_store_path

__all__ = [
    "EVERY_MESSAGE",
    "AnswerTotals",
    "Conversation",
    "Conversations",
    "Document",
    "Hit",
    "LearnedText",
    "MatrixSize",
    "Memories",
    "MemoryNote",
    "Message",
    "ModelParts",
    "Notes",
    "Part",
    "PartRow",
    "Passage",
    "Store",
    "any_of",
    "default_store_path",
    "terms",
    "title_of",
]
