"""`chat [MODEL]`: opens an assistant as the options say, and answers a prompt or starts the loop.

An option takes its value from the command line, else from the persona, else from the config file's
[defaults], else from its default here. Does not know how an answer is generated or printed.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, get_args

import click
from click.core import ParameterSource

from aded_edge.assistant import Assistant, Overflow
from aded_edge.assistant.settings import SAMPLING, Persona, load_settings
from aded_edge.errors import ConfigError
from aded_edge.models import default_model_path, fetch_default_model
from aded_edge.shown import one_line

from .. import signals
from ..options import CTX, RPC, STORE_OR_NONE, THREADS, Command, FilePath
from ..output import agreed, console, dim
from .commands import SETTABLE, all_commands, show
from .line import open_line
from .newcomer import advice
from .output import MarkdownPrinter, PlainPrinter, Printer, Think
from .repl import Repl

_LAST = 0
"""--continue is the same as --resume with this number."""


class _Chat(Command):
    """Takes all options of [defaults], and before them those of the persona.

    `_read_config` sets them when `--config` is known.
    """

    from_config = frozenset()


def _read_config(context: click.Context, _: click.Parameter, path: Path | None) -> Path | None:
    # Eager, so that the file is read before click looks for any option's default.
    if context.resilient_parsing:
        return path
    context.obj = load_settings(path)
    context.default_map = dict(context.obj.defaults)
    return path


def _take_persona(context: click.Context, _: click.Parameter, name: str | None) -> str | None:
    # click processes what the command line gives before it looks for defaults.
    if name is not None and context.default_map is not None:
        context.default_map.update(context.obj.persona(name).options)
    return name


@click.command(cls=_Chat, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("model", required=False)
@click.option("--system", help="System message.")
@click.option(
    "-c", "--continue", "resume", flag_value=_LAST, type=int, help="Continue the last conversation."
)
@click.option(
    "--resume",
    type=click.IntRange(_LAST, 2**63 - 1),
    metavar="ID",
    help="Continue this conversation.",
)
@click.option(
    "--persona",
    callback=_take_persona,
    help="A named set of options of the config file.",
)
@click.option("--temperature", type=SETTABLE["temperature"], help="Default: the model's, or 0.2.")
@click.option("--top-p", type=SETTABLE["top_p"], help="Default: the model's, or 0.95.")
@click.option("--top-k", type=SETTABLE["top_k"], help="Default: the model's, or 40.")
@click.option("--min-p", type=SETTABLE["min_p"], help="Default: the model's, or 0.05.")
@click.option("--seed", type=SETTABLE["seed"], help="Default: a new one each time.")
@click.option(
    "--max-tokens",
    type=SETTABLE["max_tokens"],
    help="Default: what the context holds.",
)
@click.option("--ctx", type=CTX, default=4096, show_default=True)
@THREADS
@click.option("--gpu-layers", type=click.IntRange(-1), default=-1, help="Default: all.")
@RPC
@click.option("--drafting", default="auto", show_default=True, help="auto, off or paper.")
@click.option("--exact", is_flag=True, help="Say to the byte what plain decoding says.")
@STORE_OR_NONE
@click.option("--no-log", is_flag=True, help="Write nothing of this conversation to the disk.")
@click.option(
    "--overflow",
    type=click.Choice(get_args(Overflow)),
    default="summary",
    show_default=True,
    help="What happens to the oldest turns when the context is full.",
)
@click.option(
    "--memory-tokens",
    type=click.IntRange(0),
    help="Budget for memories, notes and earlier conversations. Default: an eighth of --ctx.",
)
@click.option("--think", type=click.Choice(get_args(Think)), default="dim", show_default=True)
@click.option("--plain", is_flag=True, help="No Markdown.")
@click.option("--prompt", help="Answer this and exit; piped text is a prompt too.")
@click.option("--json", "json_", is_flag=True, help="Print each answer as a line of JSON.")
@click.option(
    "--config", type=FilePath, is_eager=True, callback=_read_config, help="Another config file."
)
@click.pass_context
def chat(context: click.Context, /, prompt: str | None, **options: Any) -> None:
    """Chat with MODEL: a GGUF file, a name in models/, or hf:owner/repo[:quantisation].

    Without MODEL, the default model answers. Conversations are kept, and /search finds them.
    """
    logging.getLogger("aded_edge").setLevel(logging.INFO)
    if prompt is None and not sys.stdin.isatty():
        prompt = _piped()
    if prompt is not None and not prompt.strip():
        raise ConfigError("--prompt is empty; give a text, or leave it out to begin a chat")
    with _opened(**options) as assistant:
        said = context.get_parameter_source("system") is ParameterSource.COMMANDLINE
        _take_up(assistant, options["resume"], options["system"] if said else None)
        repl = _repl(assistant, prompt is None, **options)
        if prompt is None and _is_newcomer(assistant):
            dim(advice())
        if prompt is None:
            repl.talk()
        elif not repl.answer(assistant.ask(prompt)):
            raise click.Abort


@contextmanager
def _opened(**options: Any) -> Iterator[Assistant]:
    assistant = _open(**options)
    try:
        signals.check()  # a Ctrl-C that llama.cpp's log dropped while the model was loaded
        yield assistant
    finally:
        with signals.held():  # what was learned and the KV are written before Ctrl-C counts
            assistant.close()


def _open(
    *,
    model: str | None,
    ctx: int,
    threads: int,
    gpu_layers: int,
    rpc: str | None,
    drafting: Any,
    exact: bool,
    store: Path | None,
    no_log: bool,
    overflow: Overflow,
    memory_tokens: int | None,
    **options: Any,
) -> Assistant:
    # What is not given is left to the model file, and then to llama_cpp's own defaults.
    sampling = {name: options[name] for name in SAMPLING if options[name] is not None}
    sampling.setdefault("seed", int.from_bytes(os.urandom(4), "little"))
    return Assistant(
        _find_model(model),
        store=store,
        keep=not no_log,
        overflow=overflow,
        memory_tokens=memory_tokens,
        sampling=sampling,
        system=options["system"],
        persona=Persona(options["persona"]) if options["persona"] else None,
        drafting=drafting,
        exact=exact,
        n_ctx=ctx,
        n_threads=threads,
        n_gpu_layers=gpu_layers,
        rpc_servers=rpc,
    )


def _is_newcomer(assistant: Assistant) -> bool:
    """Whether nobody has chatted here yet, and this is the default model."""
    named = Path(assistant.llama.model_path).name == default_model_path().name
    return named and not assistant.messages and not assistant.conversations(1)


def _take_up(assistant: Assistant, resume: int | None, system: str | None) -> None:
    if resume is not None:
        found = assistant.resume(None if resume == _LAST else resume)
        if sys.stdin.isatty():
            dim(one_line(f"conversation {found.id}: {found.title} ({found.messages} messages)"))
            show(assistant.messages[-2:])
        if system is not None:
            assistant.set_system(system)


def _repl(
    assistant: Assistant,
    talks: bool,
    *,
    json_: bool,
    think: Think,
    plain: bool,
    **_: Any,
) -> Repl:
    screen = console()
    thinking = assistant.thinks_first
    if json_:
        printer: Callable[[], Printer] | None = None
    elif plain or not screen.is_terminal or screen.is_dumb_terminal:
        thoughts = think == "dim" or not screen.is_terminal
        printer = lambda: PlainPrinter(thoughts, thinking)  # noqa: E731
    else:
        printer = lambda: MarkdownPrinter(screen, think, thinking)  # noqa: E731
    history = assistant.questions() if talks else []
    # The line needs the repl for its status, and the repl needs the line.
    status: list[Repl] = []
    line = open_line(all_commands() if talks else (), history, lambda: status[0].status())
    status.append(Repl(assistant, line, printer))
    return status[0]


def _find_model(model: str | None) -> str | Path:
    """Returns the model to load. Fetches the default model if it is missing."""
    default = default_model_path()
    path = default if model is None else Path(model)
    with suppress(OSError):
        if path.exists():
            return path
    if path.name != default.name:
        return str(model)
    asks = sys.stdin.isatty() and sys.stderr.isatty()
    if asks and not agreed(f"{path} is missing. Fetch it (93 MB)?", default=True):
        raise click.Abort
    return fetch_default_model(path.parent)


def _piped() -> str:
    text = sys.stdin.buffer.read().decode("utf-8", "replace").strip()
    if not text:
        raise ConfigError("the piped text is empty; give a prompt by --prompt or by a pipe")
    return text
