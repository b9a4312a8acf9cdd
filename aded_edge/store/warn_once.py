"""Store operations that may fail without stopping the program.

Knows StoreError and the log. Does not know what is read or written.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from aded_edge.errors import StoreError

log = logging.getLogger("aded_edge")

T = TypeVar("T")


class WarnOnce:
    """Runs store operations and logs each distinct StoreError once instead of raising it.

    A store that stays locked or full fails at every turn; the user is told once.

    Args:
        without: what the program does without after a failure; ends the logged line.
    """

    def __init__(self, without: str) -> None:
        self._without = without
        self._logged: set[str] = set()

    def __call__(self, operation: Callable[[], T]) -> T | None:
        """Run an operation; return its result, or None if it raised StoreError."""
        try:
            return operation()
        except StoreError as error:
            if str(error) not in self._logged:
                self._logged.add(str(error))
                log.warning("%s; going on without %s", error, self._without)
            return None
