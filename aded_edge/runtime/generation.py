"""One generation: the prompt is read, tokens are drafted and verified or decoded plainly, and the
figures and what was learned are kept.

Knows the parts of `Llama`. Does not know threads or text.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from aded_edge.decode.loop import Choose, Loop, Stop
from aded_edge.decode.stats import Meter, Stats
from aded_edge.draft.drafter import AdaptiveDrafter
from aded_edge.errors import EvaluationError, ModelError
from aded_edge.llamacpp.purpose import encode, has_encoder, why_no_answer

from .closed import CLOSED
from .plain import Plainly, Tokens, decoded_plainly
from .prefill import prefill
from .sampling import sampler_choice

if TYPE_CHECKING:
    from .llama import Llama


def generated(
    llama: Llama,
    plainly: Plainly,
    tokens: list[int],
    reset: bool,
    stop: Any,
    sampling: dict[str, Any],
) -> Tokens:
    """Yield tokens after a prompt.

    Args:
        llama: the model.
        plainly: generates by llama_cpp.
        tokens: the prompt.
        reset: the prompt takes the place of the history; else it is appended to it.
        stop: stopping criteria, or None.
        sampling: keyword arguments of the model's `_init_sampler`.

    Raises:
        ModelError: the model writes no answers.
        PromptError: the prompt is empty or does not fit into the context.
        EvaluationError: the context is full, or llama.cpp refused a batch.
    """
    refusal = why_no_answer(llama)
    if refusal is not None:
        raise ModelError(refusal)
    llama.stats = Stats(cumulative=llama.stats.cumulative)
    if llama._loop is not None:
        choose = sampler_choice(llama, sampling)
        yield from _drafted(llama, llama._loop, tokens, reset, choose, stop)
        return

    def done(meter: Meter, seconds_prompt: float) -> None:
        run = meter.stats(len(tokens), seconds_prompt, llama._plain_because)
        llama.stats = run.after(llama.stats)

    given = tokens
    if has_encoder(llama):
        given = encode(llama, tokens)
        llama._encoded = tokens
    yield from decoded_plainly(llama, plainly, given, reset, done)


def _drafted(
    llama: Llama, loop: Loop, tokens: list[int], reset: bool, choose: Choose, stop: Stop | None
) -> Tokens:
    if llama._target is None:
        raise EvaluationError(CLOSED)
    drafter = loop.drafter
    assert isinstance(drafter, AdaptiveDrafter)
    began = time.perf_counter()
    known = prefill(llama, llama._target, tokens, reset)
    prompt = loop.target.history.copy()
    seconds_prompt = time.perf_counter() - began
    meter = Meter()
    try:
        yield from loop.run(choose, stop, meter, lambda: drafter.read(prompt, known))
    finally:
        run = meter.stats(len(tokens), seconds_prompt, None)
        llama.stats = run.after(llama.stats)
        if llama._persistence is not None:
            llama._persistence.save(drafter)
