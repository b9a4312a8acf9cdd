"""What is left of a closed model: an object whose every use is an error instead of a crash.

Knows nothing of the model that was closed.
"""

from __future__ import annotations

from typing import Any

from aded_edge.errors import EvaluationError

CLOSED = "the model is closed; load it again"


class Freed:
    """In the place of the parts that a closed model has freed: using one raises an error."""

    def __getattr__(self, name: str) -> Any:
        raise EvaluationError(CLOSED)
