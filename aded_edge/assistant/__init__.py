"""The personal assistant: conversations that are kept, found again and never overflow silently.

The public names, and nothing else.
"""

from __future__ import annotations

from .assistant import Assistant, default_threads, memory_in
from .recall import Used
from .window import Overflow

__all__ = ["Assistant", "Overflow", "Used", "default_threads", "memory_in"]
