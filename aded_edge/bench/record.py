"""Records a trace: a model answers dialogs plainly, and every choice is kept with its candidates.

Knows a model and dialogs. Does not know what the trace is used for.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
from rich.console import Console
from tqdm import tqdm

from ..decode.candidates import top_candidates
from ..errors import BenchError
from ..llama import Llama
from ..target.fingerprint import model_fingerprint
from .prompts import Dialog, Prompter, load_dialogs
from .speed import machine
from .trace import TOP, Trace, Turn


def record(
    model: Path,
    prompts: Path,
    out: Path,
    limit: int | None,
    *,
    max_tokens: int,
    temperature: float,
    seed: int,
    ctx: int,
    threads: int | None,
    gpu_layers: int,
    flash_attn: bool,
) -> None:
    """Answers the dialogs, and writes the trace.

    Raises:
        BenchError: the prompts cannot be read, or the trace cannot be written.
        ModelError: the model cannot be loaded.
    """
    dialogs = load_dialogs(prompts, limit)
    if not out.parent.is_dir():
        raise BenchError(f"cannot write the trace {out}: {out.parent} is no folder")
    threads = threads or os.cpu_count() or 1
    llama = Llama(
        model,
        store=None,  # which also means that the cost curve is measured now
        n_ctx=ctx,
        n_threads=threads,
        n_threads_batch=threads,
        n_gpu_layers=gpu_layers,
        flash_attn=flash_attn,
        verbose=False,
    )
    with closing(llama):
        conditions: dict[str, Any] = {
            **machine(model),
            "fingerprint": model_fingerprint(llama),
            "n_vocab": llama.n_vocab(),
            "prompts": prompts.name,
            "max_tokens": max_tokens,
            "temperature": temperature,
            "seed": seed,
            "n_ctx": ctx,
            "threads": threads,
            "gpu_layers": gpu_layers,
            "flash_attn": flash_attn,
            "cost": llama.costs,
        }
        plain = llama_cpp.Llama.generate  # no draft: one row, whose logits are the last ones
        turns: list[Turn] = []
        prompter = Prompter(llama)
        for dialog in tqdm(dialogs, unit="dialog"):
            answers = _answer(llama, plain, prompter, dialog, max_tokens, temperature, seed)
            turns += answers
    trace = Trace(conditions, turns)
    trace.save(out)
    tokens = sum(len(turn.answer) for turn in turns)
    Console().print(f"{len(turns)} answers, {tokens} tokens, written to {out}")


def _answer(
    llama: Llama,
    plain: Any,
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
        for token in plain(llama, prompt, temp=temperature):
            logits = np.ctypeslib.as_array(
                llama_cpp.llama_get_logits_ith(llama.ctx, -1), shape=(1, llama.n_vocab())
            )
            tops.append(top_candidates(logits, TOP))
            tokens.append(int(token))
            ends = llama_cpp.llama_vocab_is_eog(llama._model.vocab, token)
            if ends or len(tokens) >= max_tokens:
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
