"""Answers of `llama_cpp.Llama` and their times; as a script, the process of the baseline.

As a script it runs by its path in an interpreter that may not have aded_edge, so it imports only
llama_cpp and the standard library. Messages are lines of JSON. The first line of stdin has the
settings (see `serve`), the first line of stdout says what runs here. After that every line of
stdin is a request and gets one line as its reply. The process ends when stdin ends.

Knows llama_cpp's chat completions. Does not know dialogs, nor what the times are used for.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import sys
import time
from collections.abc import Generator, Iterator
from typing import Any, TextIO

import llama_cpp

Message = dict[str, str]
"""One message: "role" and "content"."""

WARM_UP_TOKENS = 32
"""Tokens evaluated before the first question."""


def timed_answer(
    llama: llama_cpp.Llama, messages: list[Message], options: dict[str, Any]
) -> dict[str, Any]:
    """Answer a conversation as a stream, and time it as its reader does.

    Args:
        llama: the model; what its history shares with the prompt is not evaluated again.
        messages: the conversation, ending with the user's message. A model without a chat
            template is asked by `create_completion`, with the messages' texts alone.
        options: more arguments of `create_chat_completion`.

    Returns:
        text: the answer.
        tokens: number of its tokens, with the one that ended it.
        seconds_first: time from the call to the first piece of text, or to the end without one.
        seconds_last: time from the call to the end of the stream.
    """
    tokens = 0
    generate = llama.generate

    def counted(*args: Any, **kwargs: Any) -> Generator[int, None, None]:
        nonlocal tokens
        for token in generate(*args, **kwargs):
            tokens += 1
            yield token

    owner: Any = llama
    owner.generate = counted
    pieces: list[str] = []
    first = 0.0
    try:
        began = time.perf_counter()
        for piece in _pieces(llama, messages, options):
            if piece:
                if not pieces:
                    first = time.perf_counter() - began
                pieces.append(piece)
        last = time.perf_counter() - began
    finally:
        del owner.generate
    return {
        "text": "".join(pieces),
        "tokens": tokens,
        "seconds_first": first if pieces else last,
        "seconds_last": last,
    }


def _pieces(
    llama: llama_cpp.Llama, messages: list[Message], options: dict[str, Any]
) -> Iterator[str | None]:
    if "tokenizer.chat_template" in llama.metadata:
        chat: Any = llama.create_chat_completion(messages, stream=True, **options)  # type: ignore[arg-type]
        return (chunk["choices"][0]["delta"].get("content") for chunk in chat)
    stream: Any = llama.create_completion(_plain_text(messages), stream=True, **options)
    return (chunk["choices"][0]["text"] for chunk in stream)


def _plain_text(messages: list[Message]) -> str:
    return "\n\n".join(message["content"] for message in messages) + "\n\n"


def warm_up(llama: llama_cpp.Llama) -> None:
    """Evaluate a few tokens, so that the first answer does not wait for the model's pages."""
    llama.eval([llama.token_eos()] * WARM_UP_TOKENS)
    llama.reset()


def prompt_tokens(llama: llama_cpp.Llama, messages: list[Message]) -> list[int]:
    """Return the tokens of a conversation's prompt, as `timed_answer` gets them.

    Raises:
        ValueError: the chat template refuses the messages.
    """
    if "tokenizer.chat_template" not in llama.metadata:
        return llama.tokenize(_plain_text(messages).encode("utf-8"), special=True)
    prompts: list[list[int]] = []

    def take(prompt: list[int], **_: Any) -> Any:
        prompts.append(prompt)
        return iter(())

    # Every chat format hands its prompt over to create_completion.
    owner: Any = llama
    owner.create_completion = take
    try:
        llama.create_chat_completion(messages, stream=True)  # type: ignore[arg-type]
    finally:
        del owner.create_completion
    return [int(token) for token in prompts[0]]


def history(llama: llama_cpp.Llama) -> list[int]:
    """Return the tokens whose KV cache the model holds."""
    return [int(token) for token in llama.input_ids[: llama.n_tokens]]


def _devices(llama: llama_cpp.Llama, code: str) -> list[str] | None:
    try:
        return [*map(str, runpy.run_path(code)["evaluating"](llama))]
    except AttributeError:  # another version of llama.cpp, which cannot be asked
        return None


def serve(requests: TextIO, replies: TextIO) -> None:
    """Load the model and answer requests until there are no more.

    Args:
        requests: the first line is an object with "llama", the arguments of `llama_cpp.Llama`,
            "answer", those of `create_chat_completion`, and "devices", the path of
            aded_edge/llamacpp/offloading.py, which asks for devices. The others have "do":
            "prompt" wants the tokens of a prompt, "answer" wants an answer, after a reset if
            "fresh" is true.
        replies: one line each: the build, then results, or "refused" with the reason.
    """

    def reply(message: dict[str, Any]) -> None:
        replies.write(json.dumps(message) + "\n")
        replies.flush()

    settings = json.loads(requests.readline())
    llama = llama_cpp.Llama(**settings["llama"])
    warm_up(llama)
    about = {
        "llama_cpp_python": llama_cpp.__version__,
        "python": sys.version.split()[0],
        "system": llama_cpp.llama_print_system_info().decode("utf-8", "replace").strip(),
        "description": llama._model.desc(),
        "devices": _devices(llama, settings["devices"]),
    }
    reply(about)
    for line in requests:
        request = json.loads(line)
        try:
            if request["do"] == "prompt":
                reply({"prompt": prompt_tokens(llama, request["messages"])})
                continue
            if request["fresh"]:
                llama.reset()
            answer = timed_answer(llama, request["messages"], settings["answer"])
            reply(answer | {"history": history(llama)})
        except Exception as error:  # a chat template can raise anything
            reply({"refused": str(error)})


def main() -> None:
    """Keep stdout for the replies, and send what llama.cpp prints to stderr."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent stops this process itself
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        serve(sys.stdin, replies)
    except BrokenPipeError:
        os._exit(1)  # the parent is gone


if __name__ == "__main__":
    main()
