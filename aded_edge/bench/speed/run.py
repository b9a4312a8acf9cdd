"""How fast a real model answers, side by side: llama_cpp.Llama, ours, and what else there is.

All decoders answer each turn of each dialog one after the other, in an order drawn anew, so
that the machine's drift hits all alike; the conversation goes on with the answer of
llama_cpp.Llama, so that all see the same prompts. A prompt is evaluated once, and all take up its
KV.

Knows dialogs and visits. Does not know how a decoder works, nor how figures are shown.
"""

from __future__ import annotations

import json
import platform
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aded_edge.bench.dialogs import Dialog
from aded_edge.errors import BenchError
from aded_edge.files import write_whole
from aded_edge.llamacpp.fingerprint import cost_conditions
from aded_edge.llamacpp.prompt import Prompter
from aded_edge.llamacpp.system import binding_version, build_info

from .decoders import AUTO, LOCAL, PLAIN, Decoder, Local, RunSettings
from .evaluated import EvaluatedPrompts
from .server import SERVERS, Server
from .summary import Answer, summarise

if TYPE_CHECKING:
    import llama_cpp

DECODERS = (*LOCAL, *SERVERS)


def run(
    settings: RunSettings,
    dialogs: list[Dialog],
    progress: Callable[[int], None] = lambda answers: None,
    keep: Callable[[dict[str, Any]], None] = lambda result: None,
) -> dict[str, Any]:
    """Runs all visits and returns conditions, answers and summary, ready for JSON.

    Args:
        settings, dialogs: what is run.
        progress: called with the number of answers that are done, or left out.
        keep: called with the result so far after each dialog.

    Raises:
        BenchError: a server cannot be run, or KV cannot be kept.
        ModelError: the model cannot be loaded.
    """
    answers: list[Answer] = []
    result: dict[str, Any] = {
        "settings": asdict(settings),
        "conditions": machine(Path(settings.model)),
        "dialogs": len(dialogs),
        "turns_left_out": 0,
        "finished": False,
        "stores": {},
        "cost_curves": {},
        "summary": [],
        "answers": [],
    }
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
                    before = len(answers)
                    for answer in visit.answers(place, dialog):
                        answers.append(answer)
                        progress(1)
                    new = answers[before:]
                    progress(visit.planned(place, dialog) - len(new))
                    if number == 1:
                        said = {answer.turn for answer in new}
                        result["turns_left_out"] += len(dialog.turns) - len(said)
                    result["cost_curves"][f"visit {number}"] = visit.costs()
                    result["answers"] += [asdict(answer) for answer in new]
                    result["summary"] = summarise(settings, answers)
                    keep(result)
    result["finished"] = True
    keep(result)
    return result


def machine(model: Path) -> dict[str, Any]:
    """What a figure depends on besides its settings: model, machine and versions."""
    return {
        "model": model.name,
        "bytes": model.stat().st_size,
        "machine": platform.platform(),
        "python": platform.python_version(),
        "llama_cpp_python": binding_version(),
        "system": build_info().strip(),
        "time": time.strftime("%Y-%m-%d %H:%M:%S"),
    }


def _about(plain: llama_cpp.Llama) -> dict[str, Any]:
    known = cost_conditions(plain)
    return {"description": known["description"], "cpu": known["cpu"]}


def _start_servers(settings: RunSettings, folder: Path, stack: ExitStack) -> dict[str, Server]:
    servers = {}
    for name in settings.decoders:
        if name in SERVERS:
            servers[name] = Server(name, settings, folder, folder / f"{name}.log")
            stack.callback(servers[name].close)
    return servers


def _open(settings: RunSettings, folder: Path, stack: ExitStack) -> dict[str, Local]:
    models = {}
    for name in settings.decoders:
        if name in LOCAL:
            models[name] = Local(name, settings, folder)
            stack.callback(models[name].close)
    return models


class _Visit:
    """All dialogs, once."""

    def __init__(
        self,
        number: int,
        settings: RunSettings,
        local: dict[str, Local],
        servers: dict[str, Server],
        evaluated: EvaluatedPrompts,
    ) -> None:
        self._number, self._settings, self._evaluated = number, settings, evaluated
        self._local = local
        self._decoders: dict[str, Decoder] = {**local, **servers}
        self._plain = local[PLAIN].llama
        self._prompter = Prompter(self._plain)

    def planned(self, place: int, dialog: Dialog) -> int:
        """How many answers a dialog has, if none of its turns is too long."""
        return len(dialog.turns) * len(taking_part(self._settings, place))

    def costs(self) -> dict[int, float]:
        """The cost curve that "auto" goes by now."""
        return self._local[AUTO].costs if AUTO in self._local else {}

    def answers(self, place: int, dialog: Dialog) -> Iterator[Answer]:
        """The turns of one dialog, each answered by all; ends where the context cannot go on."""
        messages: list[dict[str, str]] = []
        names = taking_part(self._settings, place)
        for turn, text in enumerate(dialog.turns):
            messages.append({"role": "user", "content": text})
            prompt = self._prompter.tokens(messages)
            if len(prompt) + self._settings.max_tokens >= self._settings.n_ctx:
                return  # all decoders skip it alike
            kv = self._evaluated.file(self._plain, prompt)
            order = random.Random(f"{self._number} {place} {turn}").sample(names, len(names))
            decoded = {name: self._decoders[name].answer(prompt, kv) for name in order}
            plain = decoded[PLAIN].tokens
            for name in names:
                yield Answer(
                    **vars(decoded[name]),
                    visit=self._number,
                    dialog=place,
                    category=dialog.category,
                    turn=turn,
                    decoder=name,
                    identical=decoded[name].tokens == plain,
                )
            messages.append({"role": "assistant", "content": self._prompter.text(plain)})


def taking_part(settings: RunSettings, place: int) -> tuple[str, ...]:
    """The decoders that answer the dialog at this place."""
    if settings.peer_dialogs is None or place < settings.peer_dialogs:
        return settings.decoders
    return tuple(name for name in settings.decoders if name in (PLAIN, AUTO))


def save(result: dict[str, Any], path: Path) -> None:
    """Writes a result as JSON; a file that is there is replaced at once or not at all.

    Raises:
        BenchError: the file cannot be written.
    """
    try:
        write_whole(path, [(json.dumps(result, indent=1) + "\n").encode()])
    except OSError as error:
        raise BenchError(f"cannot write {path}: {error}") from error
