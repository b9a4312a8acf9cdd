"""Decoding by llama_cpp itself: its tokens are counted, and tokens may be sent into its stream.

llama_cpp samples at every token that is sent into its stream, also where llama.cpp computed no
logits, and the process ends. So the stream is begun again after these tokens, with its sampler as
it is.

Knows llama_cpp's stream of tokens and the meter. Does not know why nothing is drafted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING

from aded_edge.decode.stats import Meter

if TYPE_CHECKING:
    import llama_cpp

Tokens = Generator[int, Sequence[int] | None, None]

Plainly = Callable[[list[int], bool], Tokens]
"""(tokens, reset) -> what llama_cpp generates after them; without `reset` they are appended."""


def decoded_plainly(
    llama: llama_cpp.Llama,
    plainly: Plainly,
    tokens: Sequence[int],
    reset: bool,
    done: Callable[[Meter, float], None],
) -> Tokens:
    """Yield the tokens after a prompt.

    Tokens that are sent in are evaluated after the last token yielded, and the generation continues
    after them, as it does with drafts.

    Args:
        llama: the model.
        plainly: generates by llama_cpp.
        tokens: the prompt.
        reset: it takes the place of the history; else it is appended to it.
        done: called at the end with the figures and the seconds that the prompt took.

    Raises:
        EvaluationError: the context is full, or llama.cpp refused a batch.
    """
    meter, seconds_prompt = Meter(), 0.0
    length = len(tokens) + (0 if reset else llama.n_tokens)  # of the history behind each token
    began = time.perf_counter()
    inherited = plainly(list(tokens), reset)  # a copy, because llama_cpp changes the list
    try:
        token = next(inherited)
        seconds_prompt = time.perf_counter() - began
        meter.tokens += 1
        while True:
            forced = yield token
            meter.resume()
            if forced:
                inherited.close()
                llama.n_tokens = length  # less what llama_cpp or the consumer evaluated beyond it
                inherited = plainly([token, *forced], False)
                length += len(forced)
                token = _first(llama, inherited)
            else:
                token = next(inherited)
            length += 1
            meter.tokens += 1
            meter.lap("evaluating")
            meter.step(0, 0, 1, 0.0)
    except StopIteration:
        return
    finally:
        inherited.close()
        done(meter, seconds_prompt)


def _first(llama: llama_cpp.Llama, stream: Tokens) -> int:
    """The first token of a stream, which goes on with the sampler of the one before it."""
    sampler = llama._sampler
    vars(llama)["_init_sampler"] = lambda **_: sampler
    try:
        return next(stream)
    finally:
        del vars(llama)["_init_sampler"]
