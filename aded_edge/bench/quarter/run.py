"""Hold the sessions of a quarter with three stores, each session in a newly opened model.

KEPT is the store that grows from session to session, EMPTY one that knows the costs of this machine
and nothing else, OTHER one that another user filled before. EMPTY and OTHER are only read. So all
that a store gives comes from the disk, as for a user who opens the program anew.

The stores take turns in a random order, session by session, so a machine that slows down slows all
of them. The one that is first gives the answers with which all of them continue, so all are given
the same prompts. The result is written after each session and store, and a run goes on from there.

Knows sessions and seconds. Does not know how an answer is made, nor what its figures say.
"""

from __future__ import annotations

import inspect
import json
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from aded_edge.bench.machine import run_conditions
from aded_edge.bench.results import save_result
from aded_edge.bench.sessions import Session
from aded_edge.errors import BenchError
from aded_edge.llamacpp.prompt import Prompter
from aded_edge.runtime.llama import Llama
from aded_edge.runtime.options import llama_arguments

KEPT, EMPTY, OTHER = "kept", "empty", "other"
"""The stores: of this user, of nobody, of another user."""

STORES = (KEPT, EMPTY, OTHER)

PREPARING = "preparing"
"""In the place of a store while the other user's sessions are held."""

Progress = Callable[[str, int], object]
"""Called with a label and the number of answers done since the last call."""


@dataclass(frozen=True)
class QuarterSettings:
    """Settings of a run; part of its result."""

    max_tokens: int
    threads: int
    n_ctx: int
    gpu_layers: int = 0
    temperature: float = 0.0


@dataclass(frozen=True)
class Row:
    """One answer with one store.

    Attributes:
        day, session, kind, turn: which answer; `session` is the session's id.
        store: KEPT, EMPTY or OTHER.
        task: the recurring task, None where there is none.
        prompt_tokens, tokens, steps, accepted: as in `Stats`.
        answer, first: seconds from the question to the end of the answer, and to its first piece.
        plain: seconds of the generation without drafts, by the costs that were measured.
        same: whether the answer is that of the store that was first.
    """

    day: int
    session: str
    kind: str
    turn: int
    store: str
    task: str | None
    prompt_tokens: int
    tokens: int
    steps: int
    accepted: int
    answer: float
    first: float
    plain: float
    same: bool


def planned(sessions: Sequence[Session], others: Sequence[Session]) -> int:
    """Return the number of answers of a run."""
    answers = [sum(len(session.turns) for session in group) for group in (sessions, others)]
    return len(STORES) * answers[0] + answers[1]


def run(
    model: Path,
    sessions: Sequence[Session],
    others: Sequence[Session],
    settings: QuarterSettings,
    out: Path | None = None,
    progress: Progress = lambda label, answers: None,
) -> dict[str, Any]:
    """Hold all sessions that `out` does not contain yet.

    Args:
        model: a GGUF file.
        sessions: the user's sessions, in order.
        others: those of the other user, in order.
        settings: settings of the run.
        out: written after each session and store; the stores are in a folder beside it. None for
            neither: then the run cannot be continued.
        progress: called after each answer, and for those that `out` contains already.

    Returns:
        Conditions, settings, one row per answer and store, and `unsure`: sessions that were
        interrupted with KEPT, whose store may have known some of their answers. Ready for JSON.

    Raises:
        BenchError: `out` is no result, or that of other conditions; or a session does not fit into
            the context.
        ModelError: the model cannot be loaded.
    """
    with _folder(out) as folder:
        state = _State(model, settings, folder, out)
        _prepare(state, others, progress)
        for session in sessions:
            for store in random.Random(session.id).sample(STORES, len(STORES)):
                if state.has(session, store):
                    progress(session.id, len(session.turns))
                else:
                    _hold(state, session, store, progress)
    return state.result


class _State:
    """A result that grows, and where its stores are."""

    def __init__(
        self, model: Path, settings: QuarterSettings, folder: Path, out: Path | None
    ) -> None:
        self.model, self.settings, self.folder, self.out = model, settings, folder, out
        self.result: dict[str, Any] = {
            "conditions": run_conditions(model, gpu_layers=0),
            "settings": asdict(settings),
            "rows": [],
            "said": {},
            "prepared": 0,
            "begun": None,
            "unsure": [],
        }
        if out is not None and out.exists():
            self._take_up(out)
        self._held = {(row["session"], row["store"]) for row in self.result["rows"]}

    def _take_up(self, out: Path) -> None:
        try:
            earlier = json.loads(out.read_text(encoding="utf-8"))
            missing = self.result.keys() - earlier.keys()
            about = [result["conditions"]["bytes"] for result in (earlier, self.result)]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise BenchError(f"{out} is no result of bench quarter ({error}); move it") from error
        if missing or about[0] != about[1] or earlier["settings"] != self.result["settings"]:
            raise BenchError(
                f"{out} has figures of another model or other settings; name another file, or "
                "delete it together with the folder of its stores"
            )
        self.result = earlier
        begun = earlier["begun"]
        if begun is not None and begun not in earlier["unsure"]:
            earlier["unsure"].append(begun)

    def has(self, session: Session, store: str) -> bool:
        return (session.id, store) in self._held

    def add(self, session: Session, store: str, rows: Sequence[Row], said: Sequence[str]) -> None:
        self.result["rows"] += [asdict(row) for row in rows]
        self.result["said"].setdefault(session.id, list(said))
        self._held.add((session.id, store))
        self.note(begun=None)

    def note(self, **values: Any) -> None:
        """Change values of the result, and write it."""
        self.result |= values
        if self.out is not None:
            save_result(self.result, self.out)

    def open(self, store: str, keep: bool) -> Llama:
        settings = self.settings
        arguments = llama_arguments(
            ctx=settings.n_ctx,
            threads=settings.threads,
            gpu_layers=settings.gpu_layers,
            flash_attn=False,
        )
        if store == KEPT and "prompt_cache" in inspect.signature(Llama.__init__).parameters:
            arguments["prompt_cache"] = self.folder / "kv"  # not the user's own folder
        return Llama(self.model, store=self.folder / f"{store}.db", keep=keep, **arguments)


@contextmanager
def _folder(out: Path | None) -> Iterator[Path]:
    if out is None:
        with tempfile.TemporaryDirectory(prefix="aded-edge-quarter-") as name:
            yield Path(name)
        return
    folder = out.with_name(f"{out.stem}.stores")
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        if not out.exists():  # what is left of a run whose result is gone
            for store in STORES:
                for file in folder.glob(f"{store}.db*"):
                    file.unlink()
            shutil.rmtree(folder / "kv", ignore_errors=True)
    except OSError as error:
        raise BenchError(f"cannot make the folder {folder}: {error.strerror}") from error
    yield folder


def _prepare(state: _State, others: Sequence[Session], progress: Progress) -> None:
    """Measure the costs once for all stores, and hold the other user's sessions.

    Once the user's own sessions have begun, the other store stays as it is.
    """
    begun = bool(state.result["rows"])
    if not begun and not state.result["prepared"]:
        state.open(EMPTY, keep=True).close()
        for store in (KEPT, OTHER):
            for file in state.folder.glob(f"{EMPTY}.db*"):
                shutil.copy2(file, state.folder / file.name.replace(EMPTY, store, 1))
    for place, session in enumerate(others):
        if begun or place < state.result["prepared"]:
            progress(PREPARING, len(session.turns))
            continue
        with closing(state.open(OTHER, keep=True)) as llama:
            _answers(llama, session, OTHER, state.settings, None, progress)
        state.note(prepared=place + 1)


def _hold(state: _State, session: Session, store: str, progress: Progress) -> None:
    if store == KEPT:
        state.note(begun=session.id)
    given = state.result["said"].get(session.id)
    with closing(state.open(store, keep=store == KEPT)) as llama:
        rows, said = _answers(llama, session, store, state.settings, given, progress)
    state.add(session, store, rows, said)


def _answers(
    llama: Llama,
    session: Session,
    store: str,
    settings: QuarterSettings,
    given: Sequence[str] | None,
    progress: Progress,
) -> tuple[list[Row], list[str]]:
    """Hold a session; it ends before the first turn that leaves no room for an answer."""
    messages = [*session.dialog().before]
    rows: list[Row] = []
    said: list[str] = []
    prompter = Prompter(llama)
    for place, turn in enumerate(session.turns):
        messages.append({"role": "user", "content": turn.text})
        if len(prompter.tokens(messages)) + settings.max_tokens >= llama.n_ctx():
            if not rows:
                raise BenchError(
                    f"session {session.id} and an answer do not fit into {llama.n_ctx()} tokens; "
                    "give a larger --ctx"
                )
            progress(session.id, len(session.turns) - place)
            break
        text, first, answer = _ask(llama, messages, settings)
        expected = text if given is None else given[place]
        stats = llama.stats
        rows.append(
            Row(
                day=session.day,
                session=session.id,
                kind=session.kind,
                turn=place,
                store=store,
                task=turn.task,
                prompt_tokens=stats.prompt_tokens,
                tokens=stats.tokens,
                steps=stats.steps,
                accepted=stats.accepted,
                answer=answer,
                first=first,
                plain=stats.seconds_plain,
                same=text == expected,
            )
        )
        said.append(text)
        messages.append({"role": "assistant", "content": expected})
        progress(f"{session.id} {session.kind} {store}", 1)
    return rows, said


def _ask(
    llama: Llama, messages: list[dict[str, str]], settings: QuarterSettings
) -> tuple[str, float, float]:
    """Return the answer, and the seconds to its first piece and to its end."""
    pieces: list[str] = []
    first = None
    began = time.perf_counter()
    chunks: Any = llama.create_chat_completion(
        llama.as_text(messages),
        stream=True,
        temperature=settings.temperature,
        max_tokens=settings.max_tokens,
        seed=0,
    )
    for chunk in chunks:
        piece = chunk["choices"][0]["delta"].get("content")
        if piece:
            first = first or time.perf_counter() - began
            pieces.append(piece)
    answer = time.perf_counter() - began
    return "".join(pieces), first or answer, answer
