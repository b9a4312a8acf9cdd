"""Records a trace: a model answers dialogs plainly, and every choice is kept with its candidates.

Knows a model and dialogs. Does not know what the trace is used for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from aded_edge.bench.dialogs import Dialog
from aded_edge.bench.speed.run import machine
from aded_edge.decode.candidates import top_candidates
from aded_edge.llamacpp.context import ends_answer, last_logits
from aded_edge.llamacpp.fingerprint import model_fingerprint
from aded_edge.llamacpp.prompt import Prompter
from aded_edge.runtime.llama import Llama
from aded_edge.runtime.options import default_threads, llama_arguments

from .trace import TOP, Trace, Turn


def record(
    model: Path,
    prompts: str,
    dialogs: Iterable[Dialog],
    *,
    max_tokens: int,
    temperature: float,
    seed: int,
    **running: Any,
) -> Trace:
    """Answers the dialogs.

    Args:
        model: a GGUF file.
        prompts: the name of the file that the dialogs are from.
        dialogs: what is asked.
        max_tokens: of one answer.
        temperature, seed: of the sampling.
        **running: for `llama_arguments`.

    Raises:
        ModelError: the model cannot be loaded.
    """
    # store=None also means that the cost curve is measured now
    with closing(Llama(model, store=None, **llama_arguments(**running))) as llama:
        conditions: dict[str, Any] = {
            **machine(model),
            "fingerprint": model_fingerprint(llama),
            "n_vocab": llama.n_vocab(),
            "prompts": prompts,
            "max_tokens": max_tokens,
            "temperature": temperature,
            "seed": seed,
            "n_ctx": running["ctx"],
            "threads": running["threads"] or default_threads(),
            "gpu_layers": running["gpu_layers"],
            "flash_attn": running["flash_attn"],
            "cost": llama.costs,
        }
        turns: list[Turn] = []
        prompter = Prompter(llama)
        for dialog in dialogs:
            answers = _answer(llama, prompter, dialog, max_tokens, temperature, seed)
            turns += answers
    return Trace(conditions, turns)


def _answer(
    llama: Llama,
    prompter: Prompter,
    dialog: Dialog,
    max_tokens: int,
    temperature: float,
    seed: int,
) -> Iterator[Turn]:
    messages: list[dict[str, str]] = []
    for turn, text in enumerate(dialog.turns):
        messages.append({"role": "user", "content": text})
        prompt = prompter.tokens(messages)
        if len(prompt) + max_tokens >= llama.n_ctx():
            return
        llama.set_seed(seed)
        tokens, tops = [], []
        # llama_cpp's own generate drafts nothing: each evaluation has one row.
        for token in super(Llama, llama).generate(prompt, temp=temperature):
            tops.append(top_candidates(last_logits(llama)[np.newaxis], TOP))
            tokens.append(int(token))
            if ends_answer(llama, token) or len(tokens) >= max_tokens:
                break
        yield Turn(
            dialog.id,
            dialog.category,
            turn,
            np.asarray(prompt, np.int32),
            np.asarray(tokens, np.int32),
            np.concatenate([top[0] for top in tops]),
            np.concatenate([top[1] for top in tops]),
        )
        messages.append({"role": "assistant", "content": prompter.text(tokens)})
