"""What does the model say? The only room that calls llama_cpp's C API.

Knows llama.cpp: how a context is opened, how trees and several texts are evaluated in one batch,
the KV cache and its files, the chat template, and what identifies a model and its costs. Does not
know where drafts come from, which token is chosen, SQL, or conversations.

`state` (KV cache to file and back), `system` (what the build and the machine are) and `offloading`
(which devices evaluate) are used as modules; everything else that other rooms may use is named
here.
"""

from __future__ import annotations

from . import offloading, state, system
from .context import ends_answer, is_recurrent, last_logits, set_threads, why_plain
from .fingerprint import cost_conditions, cost_key, model_fingerprint, model_name
from .fork import end_threads_before_forks
from .parallel import ParallelTarget
from .prompt import Prompter, common_prefix
from .recurrent import open_target, why_no_rollback
from .target import MAX_LEAVES, MAX_WIDTH, LlamaTarget, open_tree_context

__all__ = [
    "MAX_LEAVES",
    "MAX_WIDTH",
    "LlamaTarget",
    "ParallelTarget",
    "Prompter",
    "common_prefix",
    "cost_conditions",
    "cost_key",
    "end_threads_before_forks",
    "ends_answer",
    "is_recurrent",
    "last_logits",
    "model_fingerprint",
    "model_name",
    "offloading",
    "open_target",
    "open_tree_context",
    "set_threads",
    "state",
    "system",
    "why_no_rollback",
    "why_plain",
]
