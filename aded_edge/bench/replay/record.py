"""Record a trace: a model answers dialogs by plain decoding, with its candidates at each token.

Knows a model and dialogs. Does not know what the trace is used for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aded_edge.bench.dialogs import Dialog
from aded_edge.bench.machine import run_conditions
from aded_edge.decode.candidates import top_candidates
from aded_edge.llamacpp.context import ends_answer, last_logits
from aded_edge.llamacpp.fingerprint import model_fingerprint
from aded_edge.llamacpp.prompt import Prompter
from aded_edge.runtime.costs import measure_all
from aded_edge.runtime.llama import Llama
from aded_edge.runtime.options import llama_arguments

from .trace import TOP, Trace, Turn


@dataclass(frozen=True)
class RecordSettings:
    """What is asked, and how answers are sampled; part of the trace's conditions.

    Attributes:
        prompts: name of the file that the dialogs are from.
        max_tokens: bound of one answer.
        temperature: of the sampling; 0 takes the likeliest token.
        seed: of the sampling, set anew for every answer.
    """

    prompts: str
    max_tokens: int
    temperature: float
    seed: int


def record(
    model: Path, dialogs: Iterable[Dialog], settings: RecordSettings, **running: Any
) -> Trace:
    """Let a model answer dialogs.

    A dialog ends before the first turn whose prompt leaves no room for an answer in the context.

    Args:
        model: a GGUF file.
        dialogs: the user's side of the conversations.
        settings: conditions of the recording.
        **running: for `llama_arguments`.

    Raises:
        ModelError: the model cannot be loaded.
    """
    arguments = llama_arguments(**running)
    with closing(Llama(model, store=None, **arguments)) as llama:
        conditions: dict[str, Any] = {
            **run_conditions(model, running["gpu_layers"]),
            "fingerprint": model_fingerprint(llama),
            "n_vocab": llama.n_vocab(),
            **asdict(settings),
            "n_ctx": running["ctx"],
            "threads": running["threads"],
            "gpu_layers": running["gpu_layers"],
            "flash_attn": arguments["flash_attn"],
            "cost": measure_all(llama),
        }
        prompter = Prompter(llama)
        turns: list[Turn] = []
        for dialog in dialogs:
            turns += _answers(llama, prompter, dialog, settings)
    return Trace(conditions, turns)


def _answers(
    llama: Llama, prompter: Prompter, dialog: Dialog, settings: RecordSettings
) -> Iterator[Turn]:
    messages = list(dialog.before)
    for turn, text in enumerate(dialog.turns):
        messages.append({"role": "user", "content": text})
        prompt = prompter.tokens(messages)
        if len(prompt) + settings.max_tokens >= llama.n_ctx():
            return
        llama.set_seed(settings.seed)
        tokens, tops = [], []
        # The inherited generate() drafts nothing, so the last row has the logits after a token.
        for token in super(Llama, llama).generate(prompt, temp=settings.temperature):
            tops.append(top_candidates(last_logits(llama)[np.newaxis], TOP))
            tokens.append(int(token))
            if ends_answer(llama, token) or len(tokens) >= settings.max_tokens:
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
