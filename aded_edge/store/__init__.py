"""The store: one SQLite file with everything that outlives a process.

It holds what was learned about each model (`Store.model`), measured cost curves, proofs of
exactness, conversations, memories (what the user asked to remember) and notes (the user's
documents). This room knows SQL, transactions and faults of SQLite; it does not know what a model
is, how parts are summed, or who reads the conversations. Open it with `Store.open`; other rooms
use the names in `__all__`.
"""

from __future__ import annotations

from .answer_totals import AnswerTotals
from .conversations import EVERY_MESSAGE, Conversation, Conversations, Hit, Message, title_of
from .forgetting import HEADER, Deleted, Given
from .full_text import all_of, any_of, terms
from .memories import Memories, Memory
from .notes import Document, Notes, Passage
from .part import LearnedText, Part
from .parts import MatrixSize, ModelParts
from .proofs import Proof
from .store import Store, default_store_path
from .warn_once import WarnOnce

__all__ = [
    "EVERY_MESSAGE",
    "HEADER",
    "AnswerTotals",
    "Conversation",
    "Conversations",
    "Deleted",
    "Document",
    "Given",
    "Hit",
    "LearnedText",
    "MatrixSize",
    "Memories",
    "Memory",
    "Message",
    "ModelParts",
    "Notes",
    "Part",
    "Passage",
    "Proof",
    "Store",
    "WarnOnce",
    "all_of",
    "any_of",
    "default_store_path",
    "terms",
    "title_of",
]
