"""The chat in the terminal: `python -m aded_edge.chat [MODEL]`.

The public names, and nothing else.
"""

from __future__ import annotations

from .command import main

__all__ = ["main"]
