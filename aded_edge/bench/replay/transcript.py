"""Transcripts: what any assistant answered, as a trace without probabilities.

Every message of the assistant becomes an answer, in the tokens of a model that never said it. So a
replay shows how drafts fare on such texts, not how that model would answer.

Knows files of agent runs, and a model's tokenizer and chat template. Does not know what a trace is
used for.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np

from aded_edge.bench.dialogs import AGENT, Message, load_runs
from aded_edge.errors import BenchError
from aded_edge.llamacpp.fingerprint import model_fingerprint
from aded_edge.llamacpp.prompt import Prompter
from aded_edge.runtime.llama import Llama

from .trace import Trace, Turn


def read_transcript(path: Path, model: Path) -> Trace:
    """Read the runs of a file as greedy answers.

    Args:
        path: lines with `messages`, each with `role` and `content`.
        model: a GGUF file, whose tokens are taken.

    Raises:
        BenchError: the file cannot be read, or is no transcript; or the chat template refuses it.
        ModelError: the model cannot be loaded.
    """
    runs = load_runs(path)
    with closing(Llama(model, drafting="off", store=None, verbose=False)) as llama:
        prompter = Prompter(llama)
        turns: list[Turn] = []
        for name, messages in runs:
            try:
                turns += _answers(llama, prompter, name, messages)
            except ValueError as error:
                raise BenchError(
                    f"the chat template of {model} refuses the run {name} of {path}: {error}; give "
                    "another --model"
                ) from error
        conditions = {
            "model": model.name,
            "fingerprint": model_fingerprint(llama),
            "prompts": path.name,
            "max_tokens": None,
            "temperature": 0.0,
            "seed": None,
        }
    if not turns:
        raise BenchError(f"{path} has no message of an assistant behind another one's")
    return Trace(conditions, turns)


def _answers(
    llama: Llama, prompter: Prompter, name: str, messages: list[Message]
) -> Iterator[Turn]:
    text, tokens = "", np.empty(0, np.int32)
    places = [i for i, message in enumerate(messages) if i and message["role"] == "assistant"]
    for place in places:
        before, add_bos = prompter.rendered(messages[:place])
        # A conversation that goes on keeps its tokens, as a KV cache does.
        if text and before.startswith(text):
            new = llama.tokenize(before[len(text) :].encode(), add_bos=False, special=True)
            tokens = np.concatenate((tokens, np.asarray(new, np.int32)))
        else:
            tokens = np.asarray(llama.tokenize(before.encode(), add_bos, True), np.int32)
        said = messages[place]["content"]
        answer = np.asarray(llama.tokenize(said.encode(), add_bos=False), np.int32)
        none = np.empty((len(answer), 0), np.int32)
        yield Turn(name, AGENT, place, tokens, answer, none, none.astype(np.float32))
        text, tokens = before + said, np.concatenate((tokens, answer))
