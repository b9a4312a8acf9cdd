"""A drafter whose drafts are as right as a test wants them."""

from aded_edge.draft.drafter import AdaptiveDrafter
from aded_edge.draft.matrix import TrigramMatrix
from aded_edge.draft.spans import Spans
from aded_edge.draft.tree import DraftTree
from tests.draft.reading import chain


class Forced(AdaptiveDrafter):
    """Drafts a text that is known: `right` tokens as it goes on, and others up to `width`.

    Args:
        text: prompt and answer, tokens.
    """

    def __init__(self, text, right, width):
        super().__init__(matrix=TrigramMatrix(), spans=Spans(1 << 12))
        self.text, self.right, self.width = text, right, width

    def draft(self, history, root, max_nodes, worth=0.0):
        place = len(history) + 1
        going_on = self.text[place : place + min(self.width, max_nodes)]
        if not going_on:
            return DraftTree.empty()
        return chain([t if n < self.right else 3 + (t + 7) % 250 for n, t in enumerate(going_on)])
