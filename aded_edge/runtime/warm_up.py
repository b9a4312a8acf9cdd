"""Compiles the kernels on a thread of their own while the model is loaded.

Numba keeps compiled kernels on disk: the first start on a machine compiles for some seconds, later
ones only load them.

Knows which calls reach every kernel. Does not know what the kernels compute.
"""

from __future__ import annotations

import logging
import threading

import numpy as np

from aded_edge.decode.budget import CostBudget
from aded_edge.decode.candidates import top_candidates
from aded_edge.decode.cost_curve import CostCurve
from aded_edge.draft.drafter import AdaptiveDrafter, PaperDrafter, Step
from aded_edge.draft.matrix import TrigramMatrix
from aded_edge.draft.spans import Spans

log = logging.getLogger("aded_edge")

_LOADED_WITHIN = 1.5
"""Seconds after which kernels that are not ready must be compiling, not loading."""


class WarmUp:
    """Calls every kernel once, on a thread of its own."""

    def __init__(self) -> None:
        self._thread = threading.Thread(target=_call_all, name="aded-edge-warm-up", daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Wait until all kernels are ready; log a line if they are being compiled."""
        self._thread.join(_LOADED_WITHIN)
        if self._thread.is_alive():
            log.info("compiling the drafting kernels (once per machine, some seconds) ...")
            self._thread.join()


def _call_all() -> None:
    text = np.arange(24, dtype=np.int32) % 7
    matrix, spans = TrigramMatrix(), Spans(64)
    drafter = AdaptiveDrafter(matrix=matrix, spans=spans, keep_news=True)
    drafter.read(text)
    draft = drafter.draft(text, 0, 8)
    budget = CostBudget(CostCurve({1: 1.0, 2: 1.0}))
    budget.cut(draft)
    budget.observe(1, 1.0)
    budget.settle(1, 1)
    top = top_candidates(np.zeros((1, 64), np.float32))
    drafter.learn(Step(draft, text[:0], text[:1], text[:1], text[:1], *top))
    PaperDrafter(matrix=matrix, spans=spans).draft(text, 0, 8)
    AdaptiveDrafter(matrix=TrigramMatrix(), spans=spans).absorb(drafter.take_news().learned())
    matrix.reserve(2 * matrix.table.keys.size)  # grows, and so builds its index anew
