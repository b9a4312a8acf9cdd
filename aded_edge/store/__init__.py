"""The matrix store: what was learned and measured, in one SQLite file that outlives the process.

The public names, and nothing else.
"""

from __future__ import annotations

from aded_edge.store.learned import Learned, LearnedText
from aded_edge.store.matrix import ModelStore, Part
from aded_edge.store.store import Store, default_store_path

__all__ = ["Learned", "LearnedText", "ModelStore", "Part", "Store", "default_store_path"]
