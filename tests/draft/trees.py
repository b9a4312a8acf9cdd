"""What the tests of both searches share: knowledge to search in, and what holds for every tree."""

from functools import cache

import numpy as np
from hypothesis import strategies as st

from aded_edge.draft.best_first import best_first
from aded_edge.draft.calibration import SURE, TRUST, Calibration
from aded_edge.draft.estimate import CONTEXT
from aded_edge.draft.matrix import TrigramMatrix
from aded_edge.draft.spans import LENGTHS, Spans
from tests import naive
from tests.draft.reading import copies, next_tokens
from tests.naive import contents, ids

KAPPA = 0.75

texts = st.lists(st.integers(0, 2), max_size=80) | st.lists(st.integers(0, 9), max_size=80)


class Knowledge:
    """A matrix and spans that read some texts, and a calibration with a given trust in each band.

    `ways`: options of every search, which the reference for its probabilities follows, too.
    """

    def __init__(self, texts, trusts=(0.9,), **ways):
        self.matrix, self.spans, self.calibration = TrigramMatrix(), Spans(1 << 10), Calibration()
        for text in texts:
            self.matrix.observe(ids(*text))
            self.spans.append(ids(*text))
        self.trust = np.resize(np.float32(trusts), self.calibration.counts.shape[1])
        self.calibration.counts[TRUST] = self.trust
        self.ways = ways
        self.longest = ways.get("longest", CONTEXT)
        if ways.get("trusting"):
            self.trust = np.ones_like(self.trust)
        self.probs_after = cache(self._probs_after)

    def draft(self, context, **bounds):
        *history, root = context
        log, counts = self.spans.log, self.calibration.counts
        table = self.matrix.table
        options = {"kappa": KAPPA, **self.ways, **bounds}
        return best_first(table, log, counts, ids(*history), root, **options)

    def _probs_after(self, context):
        recent = context[-CONTEXT:]
        kind = self._kind(recent)
        raw = next_tokens(self.matrix, self.spans, ids(*recent), KAPPA, self.longest)
        cells = {token: naive.cell(*kind, estimate) for token, estimate in raw.items()}
        return {token: min(raw[token] * self.trust[cell], SURE) for token, cell in cells.items()}

    def _kind(self, context):
        rows, places = contents(self.matrix), copies(self.spans, ids(*context))
        kind = (0, rows.get(context[-1:], [0.0])[0])
        if self.longest > 1 and context[-2:] in rows and len(context) > 1:
            kind = (1, rows[context[-2:]][0])
        for number, length in enumerate(LENGTHS, start=2):
            if length not in places or length > self.longest:
                return kind
            kind = (number, len(places[length]))
        return kind


def shape(tree):
    """The depth of each node, and the number of leaves."""
    depths = [len(naive.path_to(i, tree.tokens, tree.parents)) for i in range(len(tree))]
    return depths, len(set(range(len(tree))) - set(tree.parents.tolist()))


def assert_is_a_tree(tree):
    parents = tree.parents.tolist()
    siblings = list(zip(parents, tree.tokens.tolist(), strict=True))
    assert len(set(siblings)) == len(siblings), "a node is drafted twice"
    above = [1.0 if parent < 0 else float(tree.probs[parent]) for parent in parents]
    assert all(-1 <= parent < node for node, parent in enumerate(parents)), "parents come first"
    assert all(prob <= most for prob, most in zip(tree.probs, above, strict=True))
    assert tree.probs.tolist() == sorted(tree.probs.tolist(), reverse=True), "best first"


def assert_same(one, other):
    for name in ("tokens", "parents", "probs", "estimates", "cells"):
        assert np.array_equal(getattr(one, name), getattr(other, name))
