"""The personal assistant: a model whose conversations are kept, found again and never overflow.

This room knows what a model is given with a question (`window`, `recall`, `attachments`), how a
turn runs (`turn`), what is written to the disk and when (`keeping`), and files of conversations
and notes (`export`, `documents`) and settings (`settings`). It does not know a terminal, SQL, nor
how tokens are drafted. Other rooms use the names in `__all__` and the modules `documents`,
`export`, `kv_states` and `settings`.
"""

from __future__ import annotations

from .assistant import Assistant
from .earlier import memory_in
from .recall import Recalled
from .window import Overflow

__all__ = ["Assistant", "Overflow", "Recalled", "memory_in"]
