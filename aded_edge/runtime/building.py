"""How a model drafts: its context, drafter and budget, as `drafting` and `exact` ask for.

Knows the parts and how they fit. Does not know how tokens are generated with them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aded_edge.decode.budget import CostBudget, FixedBudget
from aded_edge.decode.candidates import CANDIDATES
from aded_edge.decode.loop import Loop
from aded_edge.draft.drafter import AdaptiveDrafter, PaperDrafter
from aded_edge.draft.puct import PUCT_NODES
from aded_edge.llamacpp.context import offloads, why_plain
from aded_edge.llamacpp.fingerprint import model_fingerprint, model_name
from aded_edge.llamacpp.fork import end_threads_before_forks
from aded_edge.llamacpp.target import MAX_LEAVES, LlamaTarget, open_tree_context

from .costs import load_or_measure
from .exactness import load_or_prove
from .persistence import Persistence

if TYPE_CHECKING:
    from .llama import Llama

_LEAVES = 16
"""Leaves of a draft on a GPU, where another row costs next to nothing."""

_GPU_FORKED = (
    "layers of this model are on a GPU, which a process made by fork cannot use; load the model in "
    "the new process, or start it by spawn"
)


def plain_because(llama: Llama) -> str | None:
    """Why this model decodes plainly; None if it drafts."""
    if llama.drafting == "off":
        return 'drafting="off"'
    if llama.draft_model is not None:
        return "a draft_model of llama_cpp was given"
    return why_plain(llama)


def prepare_for_forks(llama: Llama) -> str | None:
    """Let processes that are forked from now on evaluate; return why they cannot, if so."""
    end_threads_before_forks()
    return _GPU_FORKED if offloads(llama) else None


def open_context(llama: Llama) -> None:
    """Open the context again if drafts are to have several leaves.

    Raises:
        ModelError: there is not enough memory.
    """
    leaves = _max_leaves(llama)
    if leaves > 1:
        open_tree_context(llama, leaves)


def build_loop(llama: Llama, target: LlamaTarget, persistence: Persistence | None) -> Loop | None:
    """Build the loop that drafts.

    Args:
        llama: the model; its history is empty before and afterwards.
        target: works on its context.
        persistence: where what is learned and measured is kept, None for nowhere.

    Returns:
        None if no batch width is exact, and the model is to be.
    """
    kind = PaperDrafter if llama.drafting == "paper" else AdaptiveDrafter
    drafter = kind(max_leaves=_max_leaves(llama))
    if persistence is not None:
        persistence.load(model_fingerprint(llama), model_name(llama), drafter)
    curve = load_or_measure(llama, target, persistence)
    if llama.drafting == "paper":
        return Loop(target, drafter, FixedBudget(PUCT_NODES, curve.scale))
    widths = None
    if llama.exact:
        widths = load_or_prove(llama, target, curve, persistence)
        if not widths:
            return None
    # On a CPU only nearly certain tokens are worth drafting, and learning the target's other
    # candidates takes longer than it saves (NOTES.md).
    candidates = CANDIDATES if offloads(llama) else 0
    return Loop(target, drafter, CostBudget(curve, widths), candidates)


def _max_leaves(llama: Llama) -> int:
    if llama.drafting == "paper":
        return MAX_LEAVES
    if llama.exact:
        return 1
    # On a CPU trees hardly beat chains, and only chains leave the KV cache in order. That
    # keeps the order of summation, and so every bit of the logits (NOTES.md).
    return _LEAVES if offloads(llama) else 1
