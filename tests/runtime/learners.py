"""What the tests of persistence and lessons share: small drafters, and what they learned."""

import numpy as np

from aded_edge.draft.drafter import AdaptiveDrafter
from aded_edge.draft.matrix import TrigramMatrix, pair_key
from aded_edge.draft.spans import Spans
from aded_edge.runtime.persistence import Persistence

TEXT = [5, 6, 7, 8, 9, 10, 11, 12]


def drafter():
    return AdaptiveDrafter(
        matrix=TrigramMatrix(), spans=Spans(1 << 12), keep_news=True, least=0.001
    )


def remember(path, *texts, fingerprint="f"):
    """Does what a process does: loads, reads the texts one by one, saves after each, ends."""
    persistence, own = Persistence(path), drafter()
    persistence.load(fingerprint, "name", own)
    for text in texts:
        own.read(np.asarray(text, np.int32))
        persistence.save(own)
    persistence.close()
    return own


def drafted(own, context):
    tree = own.draft(np.asarray(context[:-1], np.int32), context[-1], 8)
    return dict(zip(tree.tokens.tolist(), tree.probs.tolist(), strict=True))


def part(*texts):
    """What a drafter learns by reading these texts."""
    own = drafter()
    for text in texts:
        own.read(np.asarray(text, np.int32))
    return own.take_news().learned()


def matrix_row(own, *context):
    """(successors, weights) of a context; two empty lists if it is unknown."""
    rows = own.matrix.export()
    found = np.flatnonzero(rows.keys == pair_key(*context))
    if not len(found):
        return [], []
    (row,) = found
    places = slice(rows.offsets[row], rows.offsets[row + 1])
    return rows.tokens[places].tolist(), rows.weights[places].tolist()
