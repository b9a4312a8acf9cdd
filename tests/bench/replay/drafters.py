"""Drafters that are small, so that a test begins at once."""

from aded_edge.draft.drafter import AdaptiveDrafter
from aded_edge.draft.matrix import TrigramMatrix
from aded_edge.draft.spans import Spans


def fresh(kind=AdaptiveDrafter, **options):
    return kind(matrix=TrigramMatrix(), spans=Spans(1 << 12), **options)
