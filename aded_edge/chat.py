"""`python -m aded_edge.chat [MODEL]`: a streaming chat in the terminal.

Parses options, reads lines, prints what the model says. Does not know how an answer is made.
"""

from __future__ import annotations

import io
import json
import logging
import os
import sys
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any, cast

import click

from .cli import guarded
from .decode.stats import Stats
from .errors import AdedError, ConfigError, PromptError
from .fetch import default_model_path, fetch_default_model
from .llama import Llama

HELP = "/exit leaves, /new forgets the conversation, Ctrl-C stops an answer"

Message = dict[str, str]


class Conversation:
    """Messages so far, and the model that answers them.

    Args:
        llama: the model.
        system: a system message, kept for good.
        sampling: keyword arguments of `create_chat_completion`.

    Attributes:
        dropped: messages left out because the context could not hold them any more.
        cut: the last answer ended because there was no room, or no token left to give.
    """

    def __init__(self, llama: Llama, system: str | None, sampling: dict[str, Any]) -> None:
        self.llama = llama
        self.sampling = sampling
        self.system: list[Message] = [{"role": "system", "content": system}] if system else []
        self.messages: list[Message] = []
        self.dropped = 0
        self.cut = False

    def ask(self, text: str) -> Generator[str, None, None]:
        """Streams the answer; what was said before an interruption stays in the conversation.

        Raises:
            PromptError: the message alone does not fit into the context.
            AdedError: the model's chat template or llama.cpp refuses the conversation.
        """
        messages = self._fitting([*self.messages, {"role": "user", "content": text}])
        said: list[str] = []
        stream = self._stream(messages)
        try:
            for piece in stream:
                said.append(piece)
                yield piece
        finally:
            stream.close()  # a stream that was cut short must settle now, not when collected
            if said:
                self.dropped += len(self.messages) + 1 - len(messages)
                self.messages = [*messages, {"role": "assistant", "content": "".join(said)}]

    def forget(self) -> None:
        """Starts over; the system message stays."""
        self.messages = []

    def _stream(self, messages: list[Message]) -> Generator[str, None, None]:
        self.cut = False
        try:
            chunks: Any = self.llama.create_chat_completion(
                cast(Any, [*self.system, *messages]), stream=True, **self.sampling
            )
            for chunk in chunks:
                choice = chunk["choices"][0]
                self.cut = choice["finish_reason"] == "length"
                yield choice["delta"].get("content") or ""
        except AdedError:
            raise
        except (ValueError, RuntimeError) as error:
            raise AdedError(f"the model cannot answer this conversation: {error}") from error

    def _fitting(self, messages: list[Message]) -> list[Message]:
        # A quarter of the context is left for the answer. Dropping to a half at once means that
        # the turns after this one find their prefix in the KV again.
        room = self.llama.n_ctx() * 3 // 4 - self._size(self.system)
        if self._size(messages[-1:]) > room:
            raise PromptError(
                f"the message does not fit into the context of {self.llama.n_ctx()} tokens; "
                "shorten it or start with a larger --ctx"
            )
        if self._size(messages) > room:
            while len(messages) > 1 and self._size(messages) > room * 2 // 3:
                messages = messages[2:] if len(messages) > 2 else messages[-1:]
        return messages

    def _size(self, messages: list[Message]) -> int:
        # What a template adds around a message is a handful of tokens.
        texts = [message["content"].encode("utf-8", "replace") for message in messages]
        return sum(len(self.llama.tokenize(text, add_bos=False)) + 8 for text in texts)


def summary(stats: Stats) -> str:
    """One line about an answer."""
    line = f"{stats.tokens} tokens, {stats.tokens_per_second:.1f} tokens/s, MAT {stats.mat:.2f}"
    if stats.predicted_speedup is not None:
        line += f", {stats.predicted_speedup:.2f}x plain decoding"
    if stats.plain_because is not None:
        line += f" (plain: {stats.plain_because})"
    return line


def as_json(answer: str, stats: Stats, interrupted: bool) -> str:
    """One answer as a line of JSON."""
    figures = {
        "prompt_tokens": stats.prompt_tokens,
        "tokens": stats.tokens,
        "steps": stats.steps,
        "drafted": stats.drafted,
        "accepted": stats.accepted,
        "mat": stats.mat,
        "seconds": stats.seconds,
        "tokens_per_second": stats.tokens_per_second,
        "predicted_speedup": stats.predicted_speedup,
        "plain_because": stats.plain_because,
    }
    return json.dumps(
        {"answer": answer, "interrupted": interrupted, "stats": figures}, ensure_ascii=False
    )


class Terminal:
    """Where answers are printed: text on stdout, everything about it on stderr."""

    def __init__(self, conversation: Conversation, as_json: bool) -> None:
        self._conversation = conversation
        self._json = as_json

    def answer(self, text: str) -> bool:
        """Prints one answer; False if the user stopped it."""
        conversation = self._conversation
        before, said, interrupted = conversation.dropped, [], False
        stream = conversation.ask(text)
        try:
            for piece in stream:
                said.append(piece)
                if not self._json:
                    click.echo(piece, nl=False)
        except KeyboardInterrupt:
            interrupted = True
        finally:
            stream.close()
        stats = conversation.llama.stats
        if self._json:
            click.echo(as_json("".join(said), stats, interrupted))
            return not interrupted
        click.echo()
        if conversation.dropped > before:
            note("the conversation outgrew the context: its oldest turns were left out")
        ending = ", stopped" if interrupted else ", cut at the limit" if conversation.cut else ""
        note(summary(stats) + ending)
        return not interrupted

    def talk(self) -> None:
        """Reads lines and answers them, until the user leaves."""
        note(HELP)
        while True:
            try:
                text = _read_line().strip()
            except (EOFError, KeyboardInterrupt):
                click.echo(err=True)
                return
            if text == "/exit":
                return
            if text == "/new":
                self._conversation.forget()
                note("a new conversation")
            elif text.startswith("/"):
                note(f"no command {text.split()[0]}; {HELP}")
            elif text:
                try:
                    self.answer(text)
                except AdedError as error:
                    click.echo(f"aded-edge: {error}", err=True)


def _read_line() -> str:
    if sys.stdout.isatty():
        return input("> ")
    click.echo("> ", nl=False, err=True)  # stdout holds answers and nothing else
    return input()


def note(text: str) -> None:
    """A dim line about what goes on."""
    click.secho(text, err=True, dim=True)


class _Notes(logging.Handler):
    """Shows the package's log as dim lines."""

    def emit(self, record: logging.LogRecord) -> None:
        note(record.getMessage())


def _find_model(model: Path | None) -> Path:
    """The file to load; the default model is fetched when it is missing."""
    default = default_model_path()
    path = default if model is None else model
    if path.exists() or path.name != default.name:
        return path
    asks = sys.stdin.isatty() and sys.stderr.isatty()
    if asks and not click.confirm(f"{path} is missing. Fetch it (93 MB)?", default=True, err=True):
        raise click.Abort
    return fetch_default_model(path.parent)


def _threads() -> int:
    # Beyond four, half of the logical cores are usually siblings that share one unit.
    cores = os.cpu_count() or 1
    return cores if cores <= 4 else cores // 2


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("model", type=click.Path(path_type=Path), required=False)
@click.option("--system", help="System message.")
@click.option("--temperature", type=click.FloatRange(0), default=0.2, show_default=True)
@click.option("--top-p", type=click.FloatRange(0, 1), default=0.95, show_default=True)
@click.option("--top-k", type=click.IntRange(0), default=40, show_default=True)
@click.option("--min-p", type=click.FloatRange(0, 1), default=0.05, show_default=True)
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), help="Default: another every time.")
@click.option("--max-tokens", type=click.IntRange(1), help="Default: what the context holds.")
@click.option("--ctx", type=click.IntRange(64), default=4096, show_default=True)
@click.option("--threads", type=click.IntRange(1), help="Default: the physical cores, about.")
@click.option("--gpu-layers", type=click.IntRange(-1), default=-1, help="Default: all.")
@click.option("--drafting", default="auto", show_default=True, help="auto, off or paper.")
@click.option("--store", default="default", help="File of the matrix, or none.")
@click.option("--prompt", help="Answer this and exit; piped text is a prompt too.")
@click.option("--json", "json_", is_flag=True, help="Each answer as a line of JSON.")
def chat(
    model: Path | None,
    system: str | None,
    prompt: str | None,
    json_: bool,
    seed: int | None,
    max_tokens: int | None,
    temperature: float,
    top_p: float,
    top_k: int,
    min_p: float,
    **loading: Any,
) -> None:
    """Chat with MODEL, a GGUF file; without one, with the default model."""
    log = logging.getLogger("aded_edge")
    log.setLevel(logging.INFO)
    log.handlers = [_Notes()]
    for stream in (sys.stdin, sys.stdout):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that is not UTF-8 shows a "?"
    if prompt is None and not sys.stdin.isatty():
        prompt = _piped()
    sampling = {
        "temperature": temperature,
        "top_p": top_p,
        "top_k": top_k,
        "min_p": min_p,
        "max_tokens": max_tokens,
        "seed": seed if seed is not None else int.from_bytes(os.urandom(4), "little"),
    }
    with _load(_find_model(model), **loading) as llama:
        terminal = Terminal(Conversation(llama, system, sampling), json_)
        if prompt is None:
            terminal.talk()
        elif not terminal.answer(prompt):
            raise click.Abort


def _piped() -> str:
    text = sys.stdin.buffer.read().decode("utf-8", "replace").strip()
    if not text:
        raise ConfigError("the piped text is empty; give a prompt by --prompt or by a pipe")
    return text


def _load(
    path: Path, *, ctx: int, threads: int | None, gpu_layers: int, drafting: Any, store: str
) -> Llama:
    return Llama(
        path,
        drafting=drafting,
        store=None if store == "none" else store,
        n_ctx=ctx,
        n_threads=threads or _threads(),
        n_threads_batch=threads or _threads(),
        n_gpu_layers=gpu_layers,
        verbose=False,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of `aded-edge-chat`."""
    sys.exit(guarded(chat, arguments))


if __name__ == "__main__":
    main()
