"""Measure how fast decoders answer the same dialogs with the same real model.

Each turn is answered by all decoders, one after the other, in an order drawn anew for every turn:
so a machine that slows down slows all of them. The conversation continues with the answer of
llama_cpp.Llama, so all decoders get the same prompts. A prompt is evaluated once; every decoder
loads its KV cache.

Knows dialogs and visits. Does not know how a decoder works, nor how figures are shown.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aded_edge.bench.dialogs import Dialog
from aded_edge.bench.machine import run_conditions
from aded_edge.llamacpp.fingerprint import cost_conditions
from aded_edge.llamacpp.prompt import Prompter

from .decoders import AUTO, LOCAL, PLAIN, Decoder, LocalDecoder, RunSettings
from .evaluated import EvaluatedPrompts
from .server import SERVERS, ServerDecoder
from .summary import RunAnswer, summarise

if TYPE_CHECKING:
    import llama_cpp

DECODERS = (*LOCAL, *SERVERS)
"""Names of all decoders."""


def run(
    settings: RunSettings,
    dialogs: list[Dialog],
    progress: Callable[[int], None] = lambda answers: None,
    keep: Callable[[dict[str, Any]], None] = lambda result: None,
) -> dict[str, Any]:
    """Let all decoders answer all dialogs, as often as there are visits.

    Args:
        settings: settings of the run.
        dialogs: what is asked.
        progress: called with the number of answers done, or left out, since the last call.
        keep: called with the result so far after each dialog, and with the whole result.

    Returns:
        Settings, conditions, answers and summary, ready for JSON.

    Raises:
        BenchError: a server cannot be run, or the KV cache of a prompt cannot be written.
        ModelError: the model cannot be loaded.
    """
    answers: list[RunAnswer] = []
    result = _empty_result(settings, len(dialogs))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aded-edge-bench-")))
        evaluated = EvaluatedPrompts(folder)
        servers = _start_servers(settings, folder, stack)
        builds = {server.build for server in servers.values()}
        result["conditions"] |= {"llama_server": ", ".join(sorted(builds)) or None}
        for number in range(1, settings.visits + 1):
            with ExitStack() as models:
                local = _open(settings, folder, models)
                visit = _Visit(number, settings, local, servers, evaluated)
                result["conditions"] |= _about(local[PLAIN].llama)
                result["stores"][f"visit {number}"] = "cold" if number == 1 else "warm"
                for place, dialog in enumerate(dialogs):
                    new: list[RunAnswer] = []
                    for answer in visit.answers(place, dialog):
                        new.append(answer)
                        progress(1)
                    progress(visit.planned(place, dialog) - len(new))
                    if number == 1:
                        answered = {answer.turn for answer in new}
                        result["turns_left_out"] += len(dialog.turns) - len(answered)
                    answers += new
                    result["cost_curves"][f"visit {number}"] = visit.costs()
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
        "conditions": run_conditions(Path(settings.model)),
        "dialogs": dialogs,
        "turns_left_out": 0,
        "finished": False,
        "stores": {},
        "cost_curves": {},
        "summary": [],
        "answers": [],
    }


def _about(plain: llama_cpp.Llama) -> dict[str, Any]:
    known = cost_conditions(plain)
    return {"description": known["description"], "cpu": known["cpu"]}


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
    """One pass of all decoders over the dialogs."""

    def __init__(
        self,
        number: int,
        settings: RunSettings,
        local: dict[str, LocalDecoder],
        servers: dict[str, ServerDecoder],
        evaluated: EvaluatedPrompts,
    ) -> None:
        self._number, self._settings, self._evaluated = number, settings, evaluated
        self._local = local
        self._decoders: dict[str, Decoder] = {**local, **servers}
        self._plain = local[PLAIN].llama
        self._prompter = Prompter(self._plain)

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
        messages: list[dict[str, str]] = []
        names = taking_part(self._settings, place)
        for turn, text in enumerate(dialog.turns):
            messages.append({"role": "user", "content": text})
            prompt = self._prompter.tokens(messages)
            if len(prompt) + self._settings.max_tokens >= self._settings.n_ctx:
                return  # for all decoders alike
            kv = self._evaluated.file(self._plain, prompt)
            order = random.Random(f"{self._number} {place} {turn}").sample(names, len(names))
            decoded = {name: self._decoders[name].answer(prompt, kv) for name in order}
            plain = decoded[PLAIN].tokens
            for name in names:
                yield RunAnswer(
                    **vars(decoded[name]),
                    visit=self._number,
                    dialog=place,
                    category=dialog.category,
                    turn=turn,
                    decoder=name,
                    identical=decoded[name].tokens == plain,
                )
            messages.append({"role": "assistant", "content": self._prompter.text(plain)})
