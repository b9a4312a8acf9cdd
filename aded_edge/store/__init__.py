"""The store: one SQLite file with everything that outlives a process.

It holds what was learned about each model (`Store.model`), measured cost curves, proofs of
exactness, conversations, memories (what the user asked to remember) and notes (the user's
documents). This room knows SQL, transactions and faults of SQLite; it does not know what a model
is, how parts are summed, or who reads the conversations. Open it with `Store.open`; other rooms
use the names in `__all__`.
"""

from __future__ import annotations

from .answer_totals import AnswerTotals
from .conversations import Conversations, Hit
from .forgetting import HEADER, REMNANTS, Deleted, Given
from .full_text import STEM, shared, terms, words_in
from .memories import Memories, Memory
from .messages import TURN, Conversation, Message, storable, title_of
from .notes import Document, Notes, Passage
from .part import LearnedText, Part
from .parts import MatrixSize, ModelParts
from .proofs import Proof
from .store import Store, default_store_path
from .taking_in import Taken
from .warn_once import WarnOnce
from .working_copy import Elsewhere, WorkingCopy

__all__ = [
    "HEADER",
    "REMNANTS",
    "STEM",
    "TURN",
    "AnswerTotals",
    "Conversation",
    "Conversations",
    "Deleted",
    "Document",
    "Elsewhere",
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
    "Taken",
    "WarnOnce",
    "WorkingCopy",
    "default_store_path",
    "shared",
    "storable",
    "terms",
    "title_of",
    "words_in",
]
