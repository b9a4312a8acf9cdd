"""Completions: what `llama_cpp.Llama._create_completion` does, at a constant cost per token.

Takes the usual requests. Those with a suffix, logprobs, echo, logit_bias, a cache or a Hugging Face
tokenizer are left to the inherited code, which this module follows in prompt, text and chunks.

Knows prompts, text and the format of completions. Does not know drafts or chat templates.
"""

from __future__ import annotations

import random
import re
import time
import uuid
import warnings
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any

from aded_edge.llamacpp.context import ends_answer, takes_pieces

from .answer_text import AnswerText

if TYPE_CHECKING:
    import llama_cpp

INHERITED = {"suffix": None, "logprobs": None, "echo": False, "logit_bias": None}
"""Arguments with another value than these are left to the inherited code."""


def handles(llama: llama_cpp.Llama, prompt: str | list[int], arguments: dict[str, Any]) -> bool:
    """Whether `complete` can answer a request."""
    return (
        len(prompt) > 0
        and not llama.cache
        and takes_pieces(llama)
        and all(arguments.get(name, usual) == usual for name, usual in INHERITED.items())
    )


def complete(
    llama: llama_cpp.Llama,
    prompt: str | list[int],
    *,
    max_tokens: int | None,
    stop: str | list[str] | None,
    stream: bool,
    seed: int | None,
    model: str | None,
    **sampling: Any,
) -> Generator[dict[str, Any], None, None]:
    """Answer a prompt; arguments as for `llama_cpp.Llama.create_completion`.

    Yields:
        Chunks of text if `stream`, else one completion.

    Raises:
        ValueError: the prompt does not fit into the context.
    """
    tokens = _prompt_tokens(llama, prompt)
    room = _room(llama, len(tokens))
    limit = room if max_tokens is None or max_tokens <= 0 else min(max_tokens, room)
    llama.set_seed(random.Random(llama._seed).randint(0, 2**32) if seed is None else seed)
    if llama.verbose:
        llama._ctx.reset_timings()
    about = {
        "id": f"cmpl-{uuid.uuid4()}",
        "object": "text_completion",
        "created": int(time.time()),
        "model": llama.model_path if model is None else model,
    }
    stops = [stop] if isinstance(stop, str) else stop or []
    answer = AnswerText([text.encode() for text in stops])
    sampling["temp"] = sampling.pop("temperature")
    own = {name: value for name, value in sampling.items() if name not in INHERITED}
    for _ in _generate(llama, tokens, answer, (limit, room), own):
        if stream:
            for chunk in answer.chunks():
                yield about | {"choices": [_choice(chunk)]}
    criteria = sampling.get("stopping_criteria")
    if criteria is not None and criteria(llama._input_ids, llama._scores[-1, :]):
        answer.reason = "stop"
    if llama.verbose:
        llama._ctx.print_timings()
    if stream:
        for chunk in answer.rest():
            yield about | {"choices": [_choice(chunk)]}
        yield about | {"choices": [_choice("", answer.reason)]}
        return
    yield about | {
        "choices": [_choice(bytes(answer).decode(errors="ignore"), answer.reason)],
        "usage": {
            "prompt_tokens": len(tokens),
            "completion_tokens": answer.tokens,
            "total_tokens": len(tokens) + answer.tokens,
        },
    }


def ended_in_time(
    llama: llama_cpp.Llama,
    answer: Callable[..., Iterator[dict[str, Any]]],
    prompt: str | list[int],
    arguments: dict[str, Any],
) -> Generator[dict[str, Any], None, None]:
    """Answer a prompt by the inherited code, so that a full context ends the answer.

    llama_cpp waits for the rest of a character that the context cuts in two, and fails.

    Args:
        llama: the model.
        answer: the inherited `_create_completion`.
        prompt, arguments: for `answer`.

    Raises:
        ValueError: the prompt does not fit into the context.
    """
    own, full = arguments.get("stopping_criteria"), False

    def stop(history: Any, logits: Any) -> bool:
        nonlocal full
        stopped = own is not None and own(history, logits)
        full = not stopped and len(history) >= llama.n_ctx()
        return bool(stopped or full)

    try:
        for chunk in answer(prompt, **{**arguments, "stopping_criteria": stop}):
            choice = chunk["choices"][0]
            if full and choice["finish_reason"] == "stop":
                choice["finish_reason"] = "length"
            yield chunk
    except ValueError as error:
        # llama_cpp names the size of the context as llama.cpp rounded it up.
        if not str(error).startswith("Requested tokens"):
            raise
        raise ValueError(re.sub(r"\d+$", str(llama.n_ctx()), str(error))) from None


def _generate(
    llama: llama_cpp.Llama,
    prompt: list[int],
    answer: AnswerText,
    limits: tuple[int, int],
    sampling: dict[str, Any],
) -> Iterator[None]:
    """Generate an answer; yields whenever its text can be streamed as far as it has come.

    Args:
        limits: the most tokens of the answer, and the most that the context holds. An incomplete
            character may exceed the first.
    """
    limit, room = limits
    for token in llama.generate(prompt, **sampling):
        if ends_answer(llama, token):
            answer.reason = "stop"
            return
        complete = answer.take(llama._model.detokenize([token]))
        if answer.reason == "stop":
            return
        if complete:
            yield
        if answer.tokens >= (limit if complete else room):
            return


def _choice(text: str, reason: str | None = None) -> dict[str, Any]:
    return {"text": text, "index": 0, "logprobs": None, "finish_reason": reason}


def _prompt_tokens(llama: llama_cpp.Llama, prompt: str | list[int]) -> list[int]:
    """Tokens of a prompt, with those that the model wants before and behind it."""
    if isinstance(prompt, list):
        tokens = prompt
    else:
        model = llama._model
        bos, cls, sep = llama.token_bos(), model.token_cls(), model.token_sep()
        first = cls if cls != -1 else bos
        begin = [first] if model.add_bos_token() and first != -1 else []
        end = [sep if sep != -1 else llama.token_eos()]
        if not model.add_eos_token() and sep == -1:
            end = []
        # add_bos=False: it stands in `begin`.
        text = llama.tokenize(prompt.encode(), add_bos=False, special=True)
        tokens = [*begin, *text, *end]
    if tokens[:2] == [llama.token_bos()] * 2:
        warnings.warn(
            f'Detected duplicate leading "{llama._model.token_get_text(llama.token_bos())}" in '
            "prompt, this will likely reduce response quality, consider removing it...",
            RuntimeWarning,
            stacklevel=2,
        )
    return tokens


def _room(llama: llama_cpp.Llama, prompt_tokens: int) -> int:
    """Tokens that an answer can have in the context."""
    if prompt_tokens >= llama._n_ctx:
        raise ValueError(
            f"Requested tokens ({prompt_tokens}) exceed context window of {llama.n_ctx()}"
        )
    return int(llama._n_ctx) - prompt_tokens
