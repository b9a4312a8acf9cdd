"""How a model drafts: its context, drafter and budget, as `drafting` and `exact` ask for.

Knows the parts and how they fit. Does not know how tokens are generated with them.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from aded_edge.decode.budget import CostBudget, FixedBudget
from aded_edge.decode.candidates import CANDIDATES
from aded_edge.decode.loop import Loop
from aded_edge.draft.drafter import AdaptiveDrafter, PaperDrafter
from aded_edge.draft.puct import PUCT_NODES
from aded_edge.llamacpp.context import is_recurrent, why_plain
from aded_edge.llamacpp.devices import beside_cpu
from aded_edge.llamacpp.fingerprint import model_fingerprint, model_name
from aded_edge.llamacpp.fork import end_threads_before_forks
from aded_edge.llamacpp.recurrent import why_no_rollback
from aded_edge.llamacpp.rpc import workers_of
from aded_edge.llamacpp.target import MAX_LEAVES, LlamaTarget, open_tree_context

from . import costs
from .costs import candidates_pay, load_or_measure, load_or_measure_trees
from .exactness import load_or_prove
from .persistence import Persistence

if TYPE_CHECKING:
    from .llama import Llama

_LEAVES = 16
"""The most leaves of a draft where trees pay."""

EXACT_RECURRENT = (
    "exact=True, and a recurrent memory from which drafts can be taken back is opened otherwise "
    "than llama_cpp opens it"
)
"""`Stats.plain_because` of a recurrent model that is to be exact."""

PAPER_RECURRENT = 'drafting="paper" drafts trees, and a recurrent memory cannot branch'

_GPU_FORKED = (
    "this model may use a GPU or a worker, which a process made by fork cannot do; load the model "
    "in the new process, or start it by spawn"
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
    return _GPU_FORKED if beside_cpu() or workers_of(llama) is not None else None


def open_recurrent(llama: Llama) -> str | None:
    """Open the context of a model with recurrent memory again, so that it can draft.

    Returns:
        Why this model decodes plainly after all; None if it drafts.

    Raises:
        ModelError: there is not enough memory.
    """
    if not is_recurrent(llama):
        return None
    if llama.drafting == "paper":
        return PAPER_RECURRENT
    return EXACT_RECURRENT if llama.exact else why_no_rollback(llama)


def build_loop(llama: Llama, target: LlamaTarget, persistence: Persistence | None) -> Loop | None:
    """Build the loop that drafts. The context is opened again where drafts are to branch.

    Args:
        llama: the model; its history is empty before and afterwards.
        target: works on its context.
        persistence: where what is learned and measured is kept, None for nowhere.

    Returns:
        None if no batch width is exact, and the model is to be.

    Raises:
        ModelError: there is not enough memory.
    """
    paper = llama.drafting == "paper"
    drafter = PaperDrafter(max_leaves=MAX_LEAVES) if paper else AdaptiveDrafter(max_leaves=1)
    if persistence is not None:
        known = model_fingerprint(llama), model_name(llama)
        persistence.load(*known, drafter, llama.n_vocab())
    costs.compile_kernels(llama, target, persistence)
    began = time.perf_counter()
    curve = load_or_measure(llama, target, persistence)
    if paper:
        _open_for_trees(llama, target, MAX_LEAVES)
        return Loop(target, drafter, FixedBudget(PUCT_NODES, curve.scale))
    if llama.exact:
        widths = load_or_prove(llama, target, curve, persistence)
        # Only chains leave the KV cells in order, and so the order of summation.
        return Loop(target, drafter, CostBudget(curve, widths), 0) if widths else None
    budget = CostBudget(curve)
    if not budget.rows_are_cheap:  # branches and the target's other candidates bring nothing
        return Loop(target, drafter, budget, 0)
    if not is_recurrent(llama):
        _open_for_trees(llama, target, _LEAVES)
        left = costs.MEASURE_SECONDS - (time.perf_counter() - began)
        if load_or_measure_trees(llama, target, curve, persistence, left):
            drafter.max_leaves, drafter.least_branch = _LEAVES, budget.branch
    candidates = CANDIDATES if candidates_pay(curve, llama.n_vocab()) else 0
    return Loop(target, drafter, budget, candidates)


def _open_for_trees(llama: Llama, target: LlamaTarget, leaves: int) -> None:
    open_tree_context(llama, leaves)
    target.reopened()
