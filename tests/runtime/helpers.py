"""What several test files of `Llama` share: prompts, answers, and subprocesses."""

import itertools
import signal
import subprocess
import sys
import textwrap

import llama_cpp
import numpy as np
import pytest


def question(text):
    return f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n"


STORY = question("Write a short story about a fox.")
CAPITAL = question("What is the capital of France?")

ASKED, OTHER = [1, 70, 80, 90], [1, 99, 120, 55, 60, 33]
"""Prompts for the tiny model, whose tokens are bytes."""


def tokenized(llama, prompt):
    return llama.tokenize(prompt.encode(), add_bos=False, special=True)


def take(llama, prompt, n, **sampling):
    """The next n tokens behind a prompt (text or tokens), greedy unless told otherwise."""
    tokens = tokenized(llama, prompt) if isinstance(prompt, str) else prompt
    stream = llama.generate(tokens, **{"temp": 0.0, **sampling})
    taken = list(itertools.islice(stream, n))
    stream.close()
    return taken


def said(completion):
    choice = completion["choices"][0]
    return choice["text"] if "text" in choice else choice["message"]["content"]


def streamed(chunks):
    """(text, last finish_reason) of a stream of completion or chat chunks."""
    text, reason = "", None
    for chunk in chunks:
        choice = chunk["choices"][0]
        text += choice["text"] if "text" in choice else choice["delta"].get("content") or ""
        reason = choice["finish_reason"]
    return text, reason


def history(llama):
    return llama.input_ids[: llama.n_tokens].tolist()


def assert_in_agreement(llama):
    """The KV cache holds the history; the sequences of leaves hold nothing else."""
    memory = llama_cpp.llama_get_memory(llama.ctx)
    assert llama_cpp.llama_memory_seq_pos_max(memory, 0) == llama.n_tokens - 1
    assert llama_cpp.llama_memory_seq_pos_min(memory, 0) == (0 if llama.n_tokens else -1)
    for sequence in range(1, llama.context_params.n_seq_max):
        assert llama_cpp.llama_memory_seq_pos_max(memory, sequence) < llama.n_tokens


def logits(llama):
    return np.ctypeslib.as_array(llama._ctx.get_logits_ith(-1), (llama.n_vocab(),)).copy()


PRELUDE = """
import itertools, json, os, sys
import aded_edge.runtime.costs
from aded_edge import AdedError, Llama
from aded_edge.decode.cost_curve import CostCurve

# A fixed cost curve: what is drafted must not depend on the speed of this machine.
aded_edge.runtime.costs.measure_first = lambda *_: CostCurve(dict.fromkeys((1, 2, 4, 8, 16), 1.0))

def load(path, **options):
    same = {"n_threads": 1, "n_threads_batch": 1, "flash_attn": True}  # see tests/conftest.py
    return Llama(path, **{"n_ctx": 512, "verbose": False, "store": None, **same, **options})
"""


def command(script, *arguments):
    """Command line that runs Python code in a process of its own, so that it may crash."""
    code = PRELUDE + textwrap.dedent(script)
    return [sys.executable, "-X", "faulthandler", "-c", code, *map(str, arguments)]


def in_a_process(script, *arguments):
    return subprocess.run(command(script, *arguments), capture_output=True, text=True, timeout=300)


def finished(process):
    assert process.returncode == 0, process.stderr[-2000:]
    return process.stdout


def ctrl_c_at_a_token(stream):
    with pytest.raises(KeyboardInterrupt):
        stream.throw(KeyboardInterrupt())
    return []


def ctrl_c_while_evaluating(stream):
    """The most frequent case: llama_decode has returned before Python handles the signal."""
    real, taken = llama_cpp.llama_decode, []

    def decode(*arguments):
        real(*arguments)
        signal.raise_signal(signal.SIGINT)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(llama_cpp, "llama_decode", decode)
        with pytest.raises(KeyboardInterrupt):
            taken.extend(stream)
    return taken
