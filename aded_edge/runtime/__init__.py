"""How does a model draft, and what does it remember? `Llama`, the drop-in for `llama_cpp.Llama`.

Knows how the rooms below fit together: the target of `llamacpp`, the drafter of `draft` in the
loop of `decode`, and the parts and cost curves of `store`. Does not know conversations, commands
or benchmarks.

`warm_up` (compiling the kernels) and `costs` (measuring a model) are used as modules; everything
else that other rooms may use is named here.
"""

from __future__ import annotations

from .llama import Llama
from .options import (
    DRAFTING,
    Drafting,
    StoreChoice,
    check_drafting,
    check_store,
    default_threads,
    llama_arguments,
)
from .persistence import Persistence, learned_from_part, load_learned, part_from_learned

__all__ = [
    "DRAFTING",
    "Drafting",
    "Llama",
    "Persistence",
    "StoreChoice",
    "check_drafting",
    "check_store",
    "default_threads",
    "learned_from_part",
    "llama_arguments",
    "load_learned",
    "part_from_learned",
]
