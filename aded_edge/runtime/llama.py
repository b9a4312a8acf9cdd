"""`Llama`: llama_cpp.Llama that answers faster and says the same.

Wires the parts: a target on the inherited context, a drafter, a budget and a memory. It owns
`generate`; everything above it (completions, chat, tools, grammars, streaming) is inherited.

Does not know how a draft is made, what SQL is, or how a batch is laid out.
"""

from __future__ import annotations

import contextlib
import inspect
import logging
import os
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
from llama_cpp.llama_grammar import LlamaGrammar

from aded_edge.arrays import Float32Array
from aded_edge.decode.budget import CostBudget, FixedBudget
from aded_edge.decode.candidates import CANDIDATES
from aded_edge.decode.cost_curve import CostCurve, measure
from aded_edge.decode.loop import Choose, Loop, Stop
from aded_edge.decode.stats import Meter, Stats
from aded_edge.draft.drafter import AdaptiveDrafter, PaperDrafter
from aded_edge.draft.puct import PUCT_NODES
from aded_edge.errors import EvaluationError, ModelError, PromptError
from aded_edge.llamacpp import state
from aded_edge.llamacpp.fingerprint import cost_conditions, cost_key, model_fingerprint, model_name
from aded_edge.llamacpp.prompt import common_prefix
from aded_edge.llamacpp.target import (
    LAST_ROW,
    MAX_LEAVES,
    LlamaTarget,
    offloads,
    open_tree_context,
    why_plain,
)
from aded_edge.store import default_store_path

from .options import Drafting, StoreChoice, check_drafting, check_names, check_store
from .persistence import Persistence
from .warm_up import WarmUp

log = logging.getLogger("aded_edge")

MEASURE_SECONDS = 4.0
"""What measuring a cost curve may take, about."""

KEEP_AFTER = 500
"""Steps after which what was seen of the costs is worth keeping."""

_LEAVES = 16
"""Branches of a draft where another row costs next to nothing."""

_MEASURED_HISTORY = 128
"""Tokens in the KV while the curve is measured: an empty one would flatter it."""

_ARGUMENTS = frozenset(inspect.signature(llama_cpp.Llama.__init__).parameters) - {"self", "kwargs"}


class Llama(llama_cpp.Llama):
    """Drop-in for `llama_cpp.Llama` (0.3.36).

    Args:
        model_path: a GGUF file.
        drafting: "auto" drafts where the measured costs say that it pays; "off" decodes
            plainly; "paper" is ADED's search and tree, whatever they cost, to be measured against.
        store: where what was learned is kept: "default" (the user's data folder), the path of
            a SQLite file, or None for nowhere.
        keep: append to the store; without, it is read and never written.
        **kwargs: every other argument of `llama_cpp.Llama`.

    Attributes:
        stats: figures of the last generation, and `stats.cumulative` of all.

    Raises:
        ConfigError: an argument is unknown, or `drafting` or `store` has no such choice.
        ModelError: the model file is missing, damaged or not GGUF.
    """

    def __init__(
        self,
        model_path: str | os.PathLike[str],
        *,
        drafting: Drafting = "auto",
        store: StoreChoice = "default",
        keep: bool = True,
        **kwargs: Any,
    ) -> None:
        # What close() needs, also after a constructor that failed half-way.
        self._stack = contextlib.ExitStack()
        self._persistence: Persistence | None = None
        self._target: LlamaTarget | None = None
        self._loop: Loop | None = None
        self.drafting = check_drafting(drafting)
        self.store = check_store(store, default_store_path())
        self.keep = keep
        check_names(kwargs, _ARGUMENTS)
        self.stats = Stats(cumulative=Stats())
        warm_up = WarmUp() if drafting != "off" else None
        _load(super().__init__, os.fspath(model_path), kwargs)
        self._plain_because = self._why_plain()
        # llama.cpp rounds its context up; the history has just the places that were asked for.
        self._n_ctx = min(self._n_ctx, len(self.input_ids))
        if self._plain_because is None:
            assert warm_up is not None
            leaves = self._max_leaves()
            if leaves > 1:
                open_tree_context(self, leaves)
            warm_up.wait()
        self._loop = self._build_loop()

    def _why_plain(self) -> str | None:
        if self.drafting == "off":
            return 'drafting="off"'
        if self.draft_model is not None:
            return "a draft_model of llama_cpp was given"
        return why_plain(self)

    def _build_loop(self) -> Loop | None:
        """The parts, wired; None where llama_cpp decodes by itself."""
        if self._plain_because is not None:
            return None
        self._target = LlamaTarget(self)
        kind = PaperDrafter if self.drafting == "paper" else AdaptiveDrafter
        drafter = kind(max_leaves=self._max_leaves())
        if self.store is not None:
            self._persistence = Persistence(self.store, self.keep)
            self._persistence.load(model_fingerprint(self), model_name(self), drafter)
        curve = self._cost_curve(self._target)
        if self.drafting == "paper":
            return Loop(self._target, drafter, FixedBudget(PUCT_NODES, curve.scale))
        # Where only the nearly certain pays, the target's other candidates teach nothing that
        # is worth the time (NOTES.md).
        candidates = CANDIDATES if offloads(self) else 0
        return Loop(self._target, drafter, CostBudget(curve), candidates)

    def _max_leaves(self) -> int:
        # On a CPU trees hardly beat chains, and only chains leave the KV in order, which keeps
        # the order of summation and so every bit (NOTES.md).
        if self.drafting == "paper":
            return MAX_LEAVES
        return _LEAVES if offloads(self) else 1

    def _cost_curve(self, target: LlamaTarget) -> CostCurve:
        known = (
            self._persistence.load_costs(cost_key(cost_conditions(self)))
            if self._persistence
            else None
        )
        if known is not None and 1 in known:
            return CostCurve(known)
        log.info("measuring what an evaluation costs here (once, about four seconds) ...")
        length = min(_MEASURED_HISTORY, self._n_ctx // 4)
        vocabulary = np.random.default_rng(0).integers(0, self._n_vocab, length + 64, np.int32)
        self.eval(vocabulary[:length].tolist())
        chain = np.arange(-1, 63, dtype=np.int32)

        def evaluate(width: int) -> None:
            tokens = vocabulary[length : length + width - 1]
            target.evaluate(int(vocabulary[0]), tokens, chain[: width - 1])
            target.settle()

        curve = measure(evaluate, target.max_nodes + 1, MEASURE_SECONDS)
        self.reset()
        target.truncate(0)
        self._save_costs(curve.seconds())
        return curve

    def _save_costs(self, seconds: dict[int, float]) -> None:
        if self._persistence is not None:
            conditions = cost_conditions(self)
            self._persistence.save_costs(cost_key(conditions), seconds, conditions)

    def belongs_to(self, conversation: str | None) -> None:
        """What is learned from now on is kept as that of a conversation, by its uid."""
        if self._persistence is not None:
            self._persistence.source = conversation

    def wait_for_store(self) -> None:
        """Waits until all that was learned is in the store."""
        if self._persistence is not None:
            self._persistence.wait()

    @property
    def costs(self) -> dict[int, float]:
        """Seconds of one evaluation by width, as they stand now; empty where nothing is drafted."""
        budget = self._loop.budget if self._loop is not None else None
        return budget.curve.seconds() if isinstance(budget, CostBudget) else {}

    def generate(
        self,
        tokens: Sequence[int],
        top_k: int = 40,
        top_p: float = 0.95,
        min_p: float = 0.05,
        typical_p: float = 1.0,
        temp: float = 0.80,
        repeat_penalty: float = 1.0,
        reset: bool = True,
        frequency_penalty: float = 0.0,
        presence_penalty: float = 0.0,
        tfs_z: float = 1.0,
        mirostat_mode: int = 0,
        mirostat_tau: float = 5.0,
        mirostat_eta: float = 0.1,
        penalize_nl: bool = True,
        logits_processor: llama_cpp.LogitsProcessorList | None = None,
        stopping_criteria: llama_cpp.StoppingCriteriaList | None = None,
        grammar: LlamaGrammar | None = None,
    ) -> Generator[int, Sequence[int] | None, None]:
        """Yields tokens behind a prompt, as `llama_cpp.Llama.generate` does.

        Raises:
            PromptError: the prompt is empty or does not fit into the context.
            EvaluationError: the context is full, or llama.cpp refused a batch.
        """
        sampling: dict[str, Any] = {
            "top_k": top_k,
            "top_p": top_p,
            "min_p": min_p,
            "typical_p": typical_p,
            "temp": temp,
            "repeat_penalty": repeat_penalty,
            "frequency_penalty": frequency_penalty,
            "presence_penalty": presence_penalty,
            "tfs_z": tfs_z,
            "mirostat_mode": mirostat_mode,
            "mirostat_tau": mirostat_tau,
            "mirostat_eta": mirostat_eta,
            "penalize_nl": penalize_nl,
            "logits_processor": logits_processor,
            "grammar": grammar,
        }
        self.stats = Stats(cumulative=self.stats.cumulative)
        if self._loop is None:
            inherited = super().generate(
                tokens, reset=reset, stopping_criteria=stopping_criteria, **sampling
            )
            yield from self._count_plain(inherited, len(tokens))
            return
        self._sampler = self._init_sampler(**sampling)
        choose = _argmax if _is_greedy(sampling) else self._chooser(self._sampler)
        yield from self._generate(self._loop, list(tokens), reset, choose, stopping_criteria)

    def _generate(
        self, loop: Loop, tokens: list[int], reset: bool, choose: Choose, stop: Stop | None
    ) -> Generator[int, Sequence[int] | None, None]:
        if self._target is None:
            raise EvaluationError("the model is closed; load it again")
        drafter = loop.drafter
        assert isinstance(drafter, AdaptiveDrafter)
        began = time.perf_counter()
        known = self._read_prompt(tokens, reset)
        drafter.read(loop.target.history, known)
        seconds_prompt = time.perf_counter() - began
        meter = Meter()
        try:
            yield from loop.run(choose, stop, meter)
        finally:
            run = meter.stats(len(tokens), seconds_prompt, None)
            self.stats = run.after(self.stats)
            if self._persistence is not None:
                self._persistence.save(drafter)

    def _count_plain(
        self, inherited: Generator[int, Sequence[int] | None, None], prompt_tokens: int
    ) -> Generator[int, Sequence[int] | None, None]:
        """Passes on what llama_cpp decodes by itself, and counts it."""
        meter, seconds_prompt = Meter(), 0.0
        began = time.perf_counter()
        try:
            token = next(inherited)
            seconds_prompt = time.perf_counter() - began
            meter.tokens += 1
            while True:
                forced = yield token
                meter.resume()
                token = inherited.send(forced)
                meter.tokens += 1
                meter.lap("evaluating")
                meter.step(0, 0, 1, 0.0)
        except StopIteration:
            return
        finally:
            inherited.close()
            run = meter.stats(prompt_tokens, seconds_prompt, self._plain_because)
            self.stats = run.after(self.stats)

    def _read_prompt(self, tokens: list[int], reset: bool) -> int:
        """Evaluates what the KV does not hold yet; returns how many tokens it held."""
        self._settle()
        kept = self._keep_prefix(tokens) if reset else 0
        if reset and kept == 0:
            self.reset()
        new = tokens[kept:]
        if not new and self.n_tokens > 0 and self._requires_eval:
            # The logits behind the history are another evaluation's by now.
            self.n_tokens -= 1
            new = [int(self.input_ids[self.n_tokens])]
        if not new and self.n_tokens == 0:
            raise PromptError("the prompt is empty; give at least one token")
        known = self.n_tokens
        room = self._n_ctx - known
        if len(new) > room:
            raise PromptError(
                f"the prompt needs {known + len(new)} tokens and the context holds "
                f"{known + room}; shorten it or give Llama() a larger n_ctx"
            )
        if new:
            self.eval(new)
        return int(known)

    def _keep_prefix(self, tokens: list[int]) -> int:
        # As llama_cpp does: keep the KV of the longest common prefix, and evaluate at least one
        # token again where the logits behind it are not those of a live evaluation.
        prefix = common_prefix(self.input_ids[: self.n_tokens], tokens)
        if prefix == len(tokens):
            if prefix == self.n_tokens and not self._requires_eval:
                return prefix
            prefix -= 1
        assert self._target is not None, "_generate has looked"
        if prefix <= 0 or not self._target.truncate(prefix):
            return 0
        self.n_tokens = prefix
        self._requires_eval = True
        return prefix

    def _chooser(self, sampler: Any) -> Choose:
        return lambda row, logits: int(sampler.sample(self._ctx, row))

    def _settle(self) -> None:
        if self._target is not None:
            self._target.settle()

    # What is inherited and touches the KV must find it settled: a consumer may call these
    # between two tokens of a stream.

    def eval(self, tokens: Sequence[int]) -> None:
        """Evaluates tokens behind the history; see `llama_cpp.Llama.eval`."""
        self._settle()
        if not tokens:
            return
        self._requires_eval = True
        if self._target is not None:
            self._target.row = LAST_ROW
        try:
            super().eval(tokens)
        except RuntimeError as error:
            raise EvaluationError(
                f"llama.cpp could not evaluate {len(tokens)} tokens behind {self.n_tokens} in a "
                f"context of {self._n_ctx}: {error}"
            ) from error

    def sample(self, *args: Any, **kwargs: Any) -> int:
        """Samples behind the history; see `llama_cpp.Llama.sample`."""
        self._settle()
        target = self._target
        if isinstance(self._ctx, _Closed):
            raise EvaluationError("the model is closed; load it again")
        if target is not None and target.row != LAST_ROW and self.n_tokens > 0:
            # llama_cpp looks at the last row of the last evaluation: make it that one.
            last = int(self.input_ids[self.n_tokens - 1])
            self.n_tokens -= 1
            self.eval([last])
        return int(super().sample(*args, **kwargs))

    def reset(self) -> None:
        """Forgets the history; see `llama_cpp.Llama.reset`."""
        self._settle()
        super().reset()  # type: ignore[no-untyped-call]
        if self._target is not None:
            self._target.truncate(0)

    def save_state(self) -> llama_cpp.LlamaState:
        """Copies history and KV; see `llama_cpp.Llama.save_state`."""
        self._settle()
        return super().save_state()

    def load_state(self, state: llama_cpp.LlamaState) -> None:
        """Takes up a saved history and KV; see `llama_cpp.Llama.load_state`."""
        self._settle()
        super().load_state(state)

    def save_kv(self, path: Path) -> None:
        """Writes history and KV into a file, which `load_kv` of the same model takes up.

        Raises:
            StoreError: the file cannot be written.
        """
        self._settle()
        state.save(self, path)

    def load_kv(self, path: Path) -> int:
        """Takes up history and KV from a file; returns how many tokens, 0 if it does not fit.

        Raises:
            StoreError: the file cannot be read.
        """
        self.reset()
        tokens = state.load(self, path)
        if not len(tokens):
            self.reset()
            return 0
        self.input_ids[: len(tokens)] = tokens
        self.n_tokens = len(tokens)
        self._requires_eval = True
        return len(tokens)

    @property
    def kv_bytes(self) -> int:
        """About how large a file `save_kv` would write now."""
        self._settle()
        return state.size(self)

    def close(self) -> None:
        """Saves what was learned and frees the model."""
        target, self._target = self._target, None
        if target is not None:
            budget = self._loop.budget if self._loop is not None else None
            if isinstance(budget, CostBudget) and budget.curve.observed >= KEEP_AFTER:
                self._save_costs(budget.curve.settled())
            target.close()
        persistence, self._persistence = self._persistence, None
        if persistence is not None:
            persistence.close()
        super().close()
        # What was inherited would go on with freed memory, and end the process.
        closed: Any = _Closed()
        self._ctx = self._model = self._batch = self.tokenizer_ = closed

    def __enter__(self) -> Llama:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        inherited: dict[str, Any] = super().__getstate__()  # type: ignore[no-untyped-call]
        return {**inherited, "drafting": self.drafting, "store": self.store, "keep": self.keep}


class _Closed:
    """Stands for what a closed model no longer has."""

    def __getattr__(self, name: str) -> Any:
        raise EvaluationError("the model is closed; load it again")


def _load(init: Callable[..., None], model_path: str, kwargs: dict[str, Any]) -> None:
    path = Path(model_path)
    if not path.exists():
        raise ModelError(f"Model path does not exist: {model_path}")
    if not path.is_file():
        raise ModelError(f"{model_path} is a folder; give the path of a .gguf file")
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise ModelError(f"{model_path} cannot be read: {error.strerror}") from error
    if magic != b"GGUF":
        raise ModelError(f"{model_path} is no GGUF file")
    try:
        init(model_path, **kwargs)
    except ValueError as error:
        if str(error).startswith("Failed to create llama_context"):
            raise ModelError(
                f"llama.cpp cannot open a context of {kwargs.get('n_ctx', 512)} tokens for "
                f"{model_path}; a smaller n_ctx needs less memory"
            ) from error
        if not str(error).startswith("Failed to load model"):
            raise
        raise ModelError(
            f"Failed to load model from file: {model_path}; it may be cut short (fetch it "
            "again) or need a newer llama-cpp-python"
        ) from error


def _is_greedy(sampling: dict[str, Any]) -> bool:
    """The chain would do nothing but take the largest logit."""
    return (
        sampling["temp"] == 0.0
        and sampling["repeat_penalty"] == 1.0
        and sampling["frequency_penalty"] == 0.0
        and sampling["presence_penalty"] == 0.0
        and sampling["logits_processor"] is None
        and sampling["grammar"] is None
    )


def _argmax(row: int, logits: Float32Array) -> int:
    return int(logits.argmax())
