"""The read-eval-print loop of the chat: reads messages and answers them until the user leaves.

Knows the assistant, the line that messages come from and the printer that answers go to. Does not
know what a /command does.
"""

from __future__ import annotations

from collections.abc import Callable, Generator

import click

from aded_edge.assistant import Assistant, memory_in
from aded_edge.errors import AdedError
from aded_edge.shown import one_line

from .. import signals
from ..output import agreed, complain, dim, print_json, say
from .commands import is_command, run
from .line import Line
from .output import Printer, as_dict, speedup, summary
from .repetition import Repetition

HELP = "/exit leaves, /new begins a conversation, /help lists all; Ctrl-C stops an answer"


class Repl:
    """The loop and its state.

    Args:
        assistant: answers the messages.
        line: the source of messages.
        printer: makes the printer of one answer; None prints each answer as a line of JSON.

    Attributes:
        leaving: set by /exit; the loop ends before the next message.
    """

    def __init__(
        self, assistant: Assistant, line: Line, printer: Callable[[], Printer] | None
    ) -> None:
        self.assistant = assistant
        self.line = line
        self.leaving = False
        self._printer = printer

    def talk(self) -> None:
        """Reads messages and answers them until the user leaves."""
        dim(HELP)
        while not self.leaving:
            try:
                signals.handled()
                text = self.line.read().strip()
            except (EOFError, KeyboardInterrupt):
                say(err=True)
                return
            try:
                if is_command(text):
                    run(self, text)
                elif text:
                    self._offer_to_remember(text)
                    self.answer(self.assistant.ask(text))
            except AdedError as error:
                complain(error)
            except (KeyboardInterrupt, EOFError):  # at a question that a command asks
                dim("stopped")

    def answer(self, stream: Generator[str, None, None]) -> bool:
        """Prints one answer. Returns False if the user stopped it."""
        said, interrupted, circle = [], False, Repetition()
        printer = self._printer() if self._printer is not None else None
        try:
            for piece in stream:
                signals.check()
                said.append(piece)
                if printer is not None:
                    printer.feed(piece)
                    if circle.notices(piece):
                        printer.remark("this answer goes round in a circle; Ctrl-C stops it")
        except KeyboardInterrupt:
            interrupted = True
        finally:
            stream.close()
            if printer is not None and (said or interrupted):
                printer.end()
        self._tell(said, interrupted, printer is None)
        return not interrupted

    def status(self) -> str:
        """Returns the line at the bottom of the screen: model, context and speed."""
        assistant, stats = self.assistant, self.assistant.stats
        used, room = assistant.context
        parts = [assistant.conversation.model, f"context {used} of {room}"]
        if stats.steps:
            parts.append(f"{stats.tokens_per_second:.0f} tokens/s")
        if faster := speedup(stats):
            parts.append(faster)
        if not assistant.kept:
            parts.append("nothing is kept")
        return one_line(" · ".join(parts))

    def _tell(self, said: list[str], interrupted: bool, json: bool) -> None:
        assistant = self.assistant
        # An answer without text is not kept, so the last message belongs to an earlier one.
        last = assistant.messages[-1] if said and assistant.messages else None
        if json:
            sources = last.sources if last else ()
            print_json(as_dict("".join(said), assistant.stats, interrupted, sources))
            return
        if last is not None and last.sources:
            dim(one_line(f"drew on: {', '.join(last.sources)}"))
        cut = last.cut if last else None
        ending = ", stopped" if interrupted else ", cut at the limit" if cut == "limit" else ""
        dim(summary(assistant.stats) + ending)

    def _offer_to_remember(self, text: str) -> None:
        wanted = memory_in(text)
        if wanted is None or not self.assistant.kept:
            return
        try:
            wanted_too = agreed(f"Remember for good: {wanted}?", default=True)
        except click.Abort:
            wanted_too = False
            say(err=True)
        if wanted_too:
            self.assistant.remember(wanted)
            dim("remembered")
