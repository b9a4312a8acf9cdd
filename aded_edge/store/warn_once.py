"""What a store refuses is said once in the log, and stops nothing.

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
    """Does what a store may refuse: a trouble is told once, not at every turn, and stops nothing.

    Args:
        without: what is done without then, in words.
    """

    def __init__(self, without: str) -> None:
        self._without = without
        self._told: set[str] = set()

    def __call__(self, work: Callable[[], T]) -> T | None:
        """What the work returns; None if the store refused."""
        try:
            return work()
        except StoreError as error:
            if str(error) not in self._told:
                self._told.add(str(error))
                log.warning("%s; going on without %s", error, self._without)
            return None
