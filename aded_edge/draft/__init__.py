"""What may come next? Takes token ids, returns a draft tree.

Knows tokens, weights and probabilities; learns them from texts and from decoding steps, in kernels
compiled by Numba. Does not know llama.cpp, SQL, what an evaluation costs, or text.

Other rooms use the names below; `aded_edge.decode` compiles its own kernels with `compile`. The
modules:

- `drafter`: learns from texts and steps, drafts trees, hands on what it learned to be saved
- `tree`: the draft tree
- `matrix`, `spans`: what followed contexts of 1 and 2 tokens, and of 3 to 32 tokens
- `estimate`, `calibration`: probabilities of next tokens from both, and how far to trust them
- `best_first`, `puct`: the searches that build a tree from them
"""

from .drafter import AdaptiveDrafter, Drafter, Learned, News, PaperDrafter, Step
from .matrix import Rows, TrigramMatrix
from .puct import PUCT_NODES
from .spans import Spans
from .tree import ROOT, DraftTree

__all__ = [
    "PUCT_NODES",
    "ROOT",
    "AdaptiveDrafter",
    "DraftTree",
    "Drafter",
    "Learned",
    "News",
    "PaperDrafter",
    "Rows",
    "Spans",
    "Step",
    "TrigramMatrix",
]
