"""The personal assistant: conversations that are kept, found again and never overflow silently.

The public names, and nothing else.
"""

from __future__ import annotations

from .assistant import Assistant, memory_in
from .recall import Recalled
from .window import Overflow

__all__ = ["Assistant", "Overflow", "Recalled", "memory_in"]
