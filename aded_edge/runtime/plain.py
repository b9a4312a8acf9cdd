"""Counting the tokens that llama_cpp decodes by itself.

Knows llama_cpp's stream of tokens and the meter. Does not know why nothing is drafted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence

from aded_edge.decode.stats import Meter


def count_plain(
    inherited: Generator[int, Sequence[int] | None, None], done: Callable[[Meter, float], None]
) -> Generator[int, Sequence[int] | None, None]:
    """Pass on the tokens of a stream, and what is sent into it.

    Args:
        inherited: the tokens; closed at the end.
        done: called at the end with the figures and the seconds that the prompt took.
    """
    meter, seconds_prompt = Meter(), 0.0
    began = time.perf_counter()
    try:
        token = next(inherited)
        seconds_prompt = time.perf_counter() - began
        meter.tokens += 1
        while True:
            forced = yield token
            meter.resume()
            token = inherited.send(forced)
            meter.tokens += 1
            meter.lap("evaluating")
            meter.step(0, 0, 1, 0.0)
    except StopIteration:
        return
    finally:
        inherited.close()
        done(meter, seconds_prompt)
