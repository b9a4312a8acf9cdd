"""The /commands of the chat. To add one, write a function and a line in COMMANDS.

Knows the assistant. Does not know how a line is read or an answer printed: the repl does.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from aded_edge.assistant.export import export_file
from aded_edge.decode.stats import Stats
from aded_edge.errors import ConfigError, did_you_mean
from aded_edge.shown import local, one_line
from aded_edge.store import REMNANTS, Message

from ..options import FiniteRange
from ..output import MERGED, dim, to_clipboard
from .output import speedup
from .paths import typed_path

if TYPE_CHECKING:
    from .repl import Repl

SETTABLE: Mapping[str, click.ParamType[Any]] = {
    "temperature": FiniteRange(0),
    "top_p": FiniteRange(0, 1),
    "top_k": click.IntRange(0),
    "min_p": FiniteRange(0, 1),
    "seed": click.IntRange(0, 2**32 - 1),
    "max_tokens": click.IntRange(1),
}
"""The sampling settings and their types, for the command line and for /set."""


@dataclass(frozen=True)
class Command:
    """A command: its arguments as /help shows them, its description, and its function."""

    arguments: str
    about: str
    run: Callable[[Repl, str], None]


def _help(repl: Repl, _: str) -> None:
    from .line import RULE

    for name, command in COMMANDS.items():
        dim(f"{f'/{name} {command.arguments}'.strip():<22} {command.about}")
    dim(f"{RULE}; Ctrl-R searches what was typed; Ctrl-C stops an answer")
    dim("a path, and a line that begins with //, is a message and sent as it is")


def _exit(repl: Repl, _: str) -> None:
    repl.leaving = True


def _new(repl: Repl, _: str) -> None:
    repl.assistant.new()
    dim("a new conversation")


def _resume(repl: Repl, argument: str) -> None:
    found = repl.assistant.resume(_number(argument) if argument else None)
    dim(one_line(f"conversation {found.id}: {found.title} ({found.messages} messages)"))
    if repl.assistant.messages:
        show(repl.assistant.messages[-2:])


def _list(repl: Repl, argument: str) -> None:
    count = _number(argument) if argument else 10
    if count == 0:
        raise ConfigError(
            "0 is too few; give the number of conversations to list, or nothing for 10"
        )
    found = repl.assistant.conversations(count)
    for about in found:
        here = "*" if about.uid == repl.assistant.conversation.uid else " "
        dim(one_line(f"{here}{about.id:>5}  {local(about.updated, day=True)}  {about.title}"))
    if not found:
        dim("no conversations yet")


def _search(repl: Repl, argument: str) -> None:
    found = repl.assistant.search(_needed(argument, "/search WORDS"), 10)
    for hit in found:
        day = local(hit.created, day=True)
        dim(one_line(f"{hit.conversation:>6}  {day}  {hit.role}: {hit.snippet}"))
    if not found:
        dim("nothing was found")


def _regenerate(repl: Repl, _: str) -> None:
    repl.answer(repl.assistant.regenerate())


def _edit(repl: Repl, argument: str) -> None:
    if not argument:
        if not repl.assistant.messages:
            raise ConfigError("nothing was asked yet in this conversation")
        argument = repl.line.edit(repl.assistant.messages[-2].content).strip()
    if argument:
        repl.answer(repl.assistant.edit(argument))


def _undo(repl: Repl, _: str) -> None:
    question = repl.assistant.undo()
    dim(f"taken back: {question.content}")
    if names := repl.assistant.attached:
        dim(f"attached to the next question: {', '.join(names)} (/file - detaches)")


def _system(repl: Repl, argument: str) -> None:
    if argument:
        repl.assistant.set_system(argument)
    dim(f"system message: {repl.assistant.conversation.system or 'none'}")


def _set(repl: Repl, argument: str) -> None:
    name, _, value = argument.partition(" ")
    if not name:
        now = repl.assistant.sampling
        dim(", ".join(f"{key} = {now.get(key, 'default')}" for key in SETTABLE))
        return
    if name not in SETTABLE:
        hint = did_you_mean(name, SETTABLE, f"known: {', '.join(SETTABLE)}")
        raise ConfigError(f"there is no setting {name!r}; {hint}")
    try:
        repl.assistant.sampling[name] = SETTABLE[name].convert(value.strip(), None, None)
    except click.BadParameter as error:
        raise ConfigError(f"{name}: {error.message} Give it as /set {name} VALUE") from error
    dim(f"{name} = {repl.assistant.sampling[name]}")


def _file(repl: Repl, argument: str) -> None:
    if argument == "-":
        dim(f"no longer attached: {', '.join(repl.assistant.detach()) or 'nothing was'}")
        return
    path = typed_path(_needed(argument, "/file PATH, or /file - to detach all"))
    dim(repl.assistant.attach(path))


def _copy(repl: Repl, _: str) -> None:
    if not repl.assistant.messages:
        raise ConfigError("there is no answer yet that could be copied")
    answer = repl.assistant.messages[-1].content
    to_clipboard(answer)
    dim(f"{len(answer)} characters are in the clipboard, if this terminal allows it")


def _remember(repl: Repl, argument: str) -> None:
    repl.assistant.remember(_needed(argument, "/remember TEXT"))
    dim("remembered")


def _memories(repl: Repl, argument: str) -> None:
    assistant = repl.assistant
    if argument:
        word, _, value = argument.partition(" ")
        if word != "budget":
            raise ConfigError(f"/memories takes nothing or 'budget N', not {argument!r}")
        assistant.memory_tokens = _number(value)
    for memory in assistant.memories():
        dim(one_line(f"{memory.id:>4}  {local(memory.created, day=True)}  {memory.text}"))
    spent = sum(use.tokens for use in assistant.used)
    dim(f"given with the last answer: {spent} of {assistant.memory_tokens} tokens")
    for use in assistant.used:
        dim(f"  {' '.join(str(use).split())}")


def _forget(repl: Repl, argument: str) -> None:
    left = repl.assistant.forget(_number(_needed(argument, "/forget N, as /memories counts")))
    dim("forgotten; earlier answers may repeat it: /search finds them")
    if left.merged:
        dim(MERGED)
    if left.remnants:
        dim(REMNANTS)


def _stats(repl: Repl, _: str) -> None:
    for line in lines_about(repl.assistant.stats):
        dim(line)


def lines_about(stats: Stats) -> list[str]:
    """Describes the last answer and the session so far, a line each."""
    lines = []
    for label, figures in (("last answer", stats), ("this session", stats.cumulative or stats)):
        ratio = speedup(figures)
        faster = f", {ratio}" if ratio else ""
        lines.append(
            f"{label}: {figures.tokens} tokens, {figures.tokens_per_second:.1f} tokens/s, "
            f"MAT {figures.mat:.2f}{faster}; drafted {figures.drafted}, "
            f"accepted {figures.accepted}"
        )
    return lines


def _save(repl: Repl, argument: str) -> None:
    path = typed_path(_needed(argument, "/save FILE.md or FILE.json"))
    export_file(path, [(repl.assistant.conversation, repl.assistant.messages)])
    dim(f"written to {path}")


def show(messages: list[Message]) -> None:
    """Prints earlier messages."""
    for message in messages:
        dim(f"{'> ' if message.role == 'user' else ''}{message.content}")
        if message.cut == "stopped":
            dim("(stopped here)")


COMMANDS: Mapping[str, Command] = {
    "help": Command("", "this list", _help),
    "new": Command("", "begin a new conversation", _new),
    "resume": Command("[N]", "continue conversation N, or the last one", _resume),
    "list": Command("[HOW MANY]", "conversations, newest first", _list),
    "search": Command("WORDS", "search all conversations", _search),
    "regen": Command("", "answer the last question again", _regenerate),
    "edit": Command("[TEXT]", "change the last question", _edit),
    "undo": Command("", "remove the last question and its answer", _undo),
    "system": Command("[TEXT]", "show or set the system message", _system),
    "set": Command("[NAME VALUE]", "show or set how answers are sampled", _set),
    "file": Command("PATH", "attach a text file; - detaches all", _file),
    "copy": Command("", "put the last answer into the clipboard", _copy),
    "remember": Command("TEXT", "add a memory", _remember),
    "memories": Command(
        "[budget N]", "list memories, and the texts given with the last question", _memories
    ),
    "forget": Command("N", "forget a memory", _forget),
    "stats": Command("", "figures of the last answer and of this session", _stats),
    "save": Command("FILE", "write the conversation as .md or .json", _save),
    "exit": Command("", "leave the chat", _exit),
}


def is_command(text: str) -> bool:
    """Whether a line is a command, known or not.

    Other lines that begin with a slash are messages: paths, comments of a program, and everything
    behind `//`. An unknown word is a command too: it is mistyped more often than sent to a model.
    """
    if not text.startswith("/") or text.startswith("//"):
        return False
    first = text[1:].split(maxsplit=1)[0] if text[1:].strip() else ""
    if first in COMMANDS:
        return True
    path = not re.fullmatch(r"[\w-]*", first) or (first and os.path.exists(f"/{first}"))
    return not path


def _meant(name: str) -> str | None:
    """The command that an unknown name begins or resembles, None if there is none."""
    # An exact beginning counts even where it is too short to be similar.
    begun = [command for command in COMMANDS if name and command.startswith(name)]
    return begun[0] if begun else next(iter(difflib.get_close_matches(name, COMMANDS, 1)), None)


def run(repl: Repl, text: str) -> None:
    """Runs a line that starts with a slash.

    Raises:
        AdedError: the command is unknown, or cannot do what was asked.
    """
    name, *rest = text[1:].split(maxsplit=1) or [""]
    if name not in COMMANDS:
        near = _meant(name)
        hint = f"did you mean '/{near}'?" if near else "/help lists them"
        raise ConfigError(f"no command /{name}; {hint} A message that begins so: //{name}")
    COMMANDS[name].run(repl, rest[0].strip() if rest else "")


def _needed(argument: str, usage: str) -> str:
    if not argument:
        raise ConfigError(f"an argument is missing: {usage}")
    return argument


def _number(argument: str) -> int:
    if not re.fullmatch(r"\d{1,18}", argument):
        raise ConfigError(f"{argument!r} is not a number of at most 18 digits")
    return int(argument)


def all_commands() -> list[tuple[str, str]]:
    """Returns name and description of each command."""
    return [(name, command.about) for name, command in COMMANDS.items()]
