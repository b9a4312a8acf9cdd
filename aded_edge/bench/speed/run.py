"""Measure how fast decoders answer the same dialogs with the same real model.

Each turn is answered by all decoders, one after the other, in an order drawn anew for every turn:
so a machine that slows down slows all of them. The conversation continues with the answer of
llama_cpp.Llama, so all decoders get the same prompts, and all hold the KV cache of the same
beginning of the prompt when they are asked.

Knows dialogs, visits and runs. Does not know how a decoder works, nor how figures are shown.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from aded_edge.bench.dialogs import Dialog, Message, shortened
from aded_edge.bench.machine import run_conditions
from aded_edge.errors import BenchError

from .decoders import AUTO, LOCAL, PLAIN, Decoder, LocalDecoder, RunSettings, Turn
from .plain import PlainDecoder
from .server import SERVERS, ServerDecoder
from .summary import RunAnswer, first_difference, summarise

DECODERS = (PLAIN, *LOCAL, *SERVERS)
"""Names of all decoders."""


def run(
    settings: RunSettings,
    dialogs: list[Dialog],
    progress: Callable[[int], None] = lambda answers: None,
    keep: Callable[[dict[str, Any]], None] = lambda result: None,
) -> dict[str, Any]:
    """Let all decoders answer all dialogs, as often as there are visits and runs.

    Args:
        settings: settings of the run.
        dialogs: what is asked.
        progress: called with the number of answers done, or left out, since the last call.
        keep: called with the result so far after each dialog, and with the whole result.

    Returns:
        Settings, conditions, answers and summary, ready for JSON.

    Raises:
        BenchError: the baseline or a server cannot be run, or the chat template refuses a dialog.
        ModelError: the model cannot be loaded.
    """
    answers: list[RunAnswer] = []
    result = _empty_result(settings, len(dialogs))
    with ExitStack() as stack:
        logs = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aded-edge-bench-")))
        plain = PlainDecoder(settings, logs / "baseline.log")
        stack.callback(plain.close)
        result["conditions"] |= {
            "description": plain.about.pop("description"),
            "baseline": plain.about,
        }
        asked = [shortened(d, settings.long_tokens, _counter(plain)) for d in dialogs]
        for visit in _visits(settings, plain, result):
            for place, dialog in enumerate(asked):
                new: list[RunAnswer] = []
                for answer in visit.answers(place, dialog):
                    new.append(answer)
                    progress(1)
                progress(visit.planned(place, dialog) - len(new))
                if visit.is_first:
                    answered = {answer.turn for answer in new}
                    result["turns_left_out"] += len(dialog.turns) - len(answered)
                answers += new
                result["cost_curves"][f"visit {visit.number}"] = visit.costs()
                result["answers"] += [asdict(answer) for answer in new]
                result["summary"] = summarise(settings, answers)
                keep(result)
    result["finished"] = True
    keep(result)
    return result


def taking_part(settings: RunSettings, place: int) -> tuple[str, ...]:
    """Return the decoders that answer the dialog at index `place`."""
    if settings.peer_dialogs is None or place < settings.peer_dialogs:
        return settings.decoders
    return tuple(name for name in settings.decoders if name in (PLAIN, AUTO))


def _empty_result(settings: RunSettings, dialogs: int) -> dict[str, Any]:
    return {
        "settings": asdict(settings),
        "conditions": run_conditions(Path(settings.model), settings.gpu_layers),
        "dialogs": dialogs,
        "turns_left_out": 0,
        "finished": False,
        "stores": {},
        "cost_curves": {},
        "summary": [],
        "answers": [],
    }


def _counter(plain: PlainDecoder) -> Callable[[list[Message]], int]:
    return lambda messages: len(plain.prompt(messages))


def _visits(settings: RunSettings, plain: PlainDecoder, result: dict[str, Any]) -> Iterator[_Visit]:
    """Yield all visits of all runs; open and close the decoders around them.

    Each run starts with empty stores and new servers.
    """
    for run_number in range(1, settings.runs + 1):
        with ExitStack() as stack:
            folder = Path(
                stack.enter_context(tempfile.TemporaryDirectory(prefix="aded-edge-bench-"))
            )
            servers = _start_servers(settings, folder, stack)
            builds = {server.build for server in servers.values()}
            result["conditions"] |= {"llama_server": ", ".join(sorted(builds)) or None}
            for number in range(1, settings.visits + 1):
                with ExitStack() as models:
                    local = _open(settings, folder, models)
                    result["stores"][f"visit {number}"] = "cold" if number == 1 else "warm"
                    yield _Visit(run_number, number, settings, plain, local, servers)


def _start_servers(
    settings: RunSettings, folder: Path, stack: ExitStack
) -> dict[str, ServerDecoder]:
    servers = {}
    for name in settings.decoders:
        if name in SERVERS:
            servers[name] = ServerDecoder(name, settings, folder, folder / f"{name}.log")
            stack.callback(servers[name].close)
    return servers


def _open(settings: RunSettings, folder: Path, stack: ExitStack) -> dict[str, LocalDecoder]:
    models = {}
    for name in settings.decoders:
        if name in LOCAL:
            models[name] = LocalDecoder(name, settings, folder)
            stack.callback(models[name].close)
    return models


class _Visit:
    """One pass of all decoders over the dialogs.

    Attributes:
        run, number: of the run and of the visit, from 1.
    """

    def __init__(
        self,
        run: int,
        number: int,
        settings: RunSettings,
        plain: PlainDecoder,
        local: dict[str, LocalDecoder],
        servers: Mapping[str, ServerDecoder],
    ) -> None:
        self.run, self.number = run, number
        self._settings, self._plain, self._local = settings, plain, local
        self._decoders: dict[str, Decoder] = {PLAIN: plain, **local, **servers}

    @property
    def is_first(self) -> bool:
        """Whether this is the first visit of the first run."""
        return self.run == self.number == 1

    def planned(self, place: int, dialog: Dialog) -> int:
        """Return the number of answers to a dialog, if no turn is too long for the context."""
        return len(dialog.turns) * len(taking_part(self._settings, place))

    def costs(self) -> dict[int, float]:
        """Return the cost curve of the decoder "auto" as it is now."""
        return self._local[AUTO].costs if AUTO in self._local else {}

    def answers(self, place: int, dialog: Dialog) -> Iterator[RunAnswer]:
        """Yield the answers to a dialog, turn by turn, until a prompt is too long for the context.

        Args:
            place: index of the dialog in the run.
            dialog: what is asked.
        """
        messages = list(dialog.before)
        known: list[int] = []
        names = taking_part(self._settings, place)
        for number, text in enumerate(dialog.turns):
            messages.append({"role": "user", "content": text})
            turn = Turn(list(messages), self._prompt(dialog, messages), known)
            if len(turn.prompt) + self._settings.max_tokens >= self._settings.n_ctx:
                return  # for all decoders alike
            order = random.Random(f"{self.run} {self.number} {place} {number}")
            answered = {
                name: self._decoders[name].answer(turn) for name in order.sample(names, len(names))
            }
            plain = answered[PLAIN].text
            for name in names:
                yield RunAnswer(
                    **vars(answered[name]),
                    run=self.run,
                    visit=self.number,
                    dialog=place,
                    category=dialog.category,
                    turn=number,
                    decoder=name,
                    prompt_tokens=len(turn.prompt),
                    differs=first_difference(answered[name].text, plain),
                )
            messages.append({"role": "assistant", "content": plain})
            known = self._plain.history

    def _prompt(self, dialog: Dialog, messages: list[Message]) -> list[int]:
        try:
            return self._plain.prompt(messages)
        except ValueError as error:
            raise BenchError(
                f"the model's chat template refuses the dialog {dialog.id}: {error}"
            ) from error
