"""Traces: a model's answers, with its likeliest tokens and their probabilities at each position.

With a trace, drafting can be tried in seconds and without the model. Knows the file format. Does
not know how a trace is recorded or replayed.
"""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.format import read_array_header_1_0, read_magic

from aded_edge import private
from aded_edge.arrays import Float32Array, Int32Array
from aded_edge.errors import BenchError

FORMAT = 1
"""Version of the file format."""

TOP = 16
"""Number of the target's likeliest tokens that are kept at each generated position."""


@dataclass(frozen=True, eq=False)
class Turn:
    """One answer.

    Attributes:
        dialog, category, turn: id and category of the dialog, and index of the turn in it.
        prompt: int32 (p,), the whole conversation up to the start of the answer.
        answer: int32 (n,), tokens of the answer.
        top_tokens: int32 (n, TOP), the target's likeliest tokens at each token of the answer;
            (n, 0) in a transcript.
        top_probs: float32 (n, TOP), their probabilities at temperature 1; or (n, 0).
    """

    dialog: str
    category: str
    turn: int
    prompt: Int32Array
    answer: Int32Array
    top_tokens: Int32Array
    top_probs: Float32Array


@dataclass(frozen=True, eq=False)
class Trace:
    """Answers in the order in which they were given, and the conditions of the recording.

    Attributes:
        conditions: model, fingerprint, temperature, seed, cost curve and so on, ready for JSON.
        turns: the answers.
    """

    conditions: dict[str, Any]
    turns: list[Turn]

    @property
    def cost(self) -> dict[int, float] | None:
        """Width -> seconds of an evaluation when this was recorded; None for a transcript."""
        if "cost" not in self.conditions:
            return None
        return {int(width): float(s) for width, s in self.conditions["cost"].items()}

    def save(self, path: Path) -> None:
        """Write the trace to a file.

        Raises:
            BenchError: the file cannot be written.
        """
        turns = self.turns
        about = {
            "format": FORMAT,
            "conditions": self.conditions,
            "turns": [[t.dialog, t.category, t.turn, len(t.prompt), len(t.answer)] for t in turns],
        }
        try:
            with private.open_new(path) as file:
                np.savez_compressed(
                    file,
                    about=np.asarray(json.dumps(about)),
                    prompts=_joined([t.prompt for t in turns], np.int32),
                    answers=_joined([t.answer for t in turns], np.int32),
                    top_tokens=_joined([t.top_tokens for t in turns], np.int32),
                    top_probs=_joined([t.top_probs for t in turns], np.float32),
                )
        except OSError as error:
            raise BenchError(f"cannot write the trace {path}: {error.strerror}") from error

    @classmethod
    def load(cls, path: Path) -> Trace:
        """Read a file that `save` wrote.

        Raises:
            BenchError: the file is missing, damaged, or not a trace of this format.
        """
        try:
            _check_sizes(path)
            with np.load(path, allow_pickle=False) as file:
                about = json.loads(str(file["about"]))
                if about["format"] != FORMAT:
                    raise BenchError(
                        f"{path} has the format {about['format']} and this version reads "
                        f"{FORMAT}; record it again"
                    )
                _check_conditions(about["conditions"])
                arrays = [file[n] for n in ("prompts", "answers", "top_tokens", "top_probs")]
            return cls(about["conditions"], list(_split(about["turns"], *arrays)))
        except BenchError:
            raise
        except OSError as error:
            raise BenchError(f"cannot read the trace {path}: {error.strerror or error}") from error
        except Exception as error:  # NumPy parses before it checks: anything may be raised
            raise BenchError(
                f"{path} is not a trace, or damaged; make one with python -m aded_edge bench record"
            ) from error


def _check_conditions(conditions: dict[str, Any]) -> None:
    """Raise ValueError if a condition that a replay depends on is missing or of another kind."""
    kinds: dict[str, type | tuple[type, ...]] = {
        **dict.fromkeys(("model", "fingerprint", "prompts"), str),
        **dict.fromkeys(("max_tokens", "seed"), int),
        "temperature": (int, float),
        "cost": dict,
    }
    for name, kind in kinds.items():
        if not isinstance(conditions[name], kind):
            raise ValueError(f"{name} is {conditions[name]!r}")
    if not math.isfinite(conditions["temperature"]):
        raise ValueError("the temperature is not finite")
    for width, seconds in conditions["cost"].items():
        int(width), float(seconds)


def _check_sizes(path: Path) -> None:
    """Raise ValueError if an array claims to be larger or smaller than what the archive holds.

    NumPy would reserve the memory first, and find out later.
    """
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            with archive.open(member) as file:
                read_magic(file)
                shape, _, dtype = read_array_header_1_0(file)
                if math.prod(shape) * dtype.itemsize != member.file_size - file.tell():
                    raise ValueError(f"{member.filename} has not the size that it claims")


def _joined(arrays: Sequence[npt.NDArray[Any]], dtype: Any) -> npt.NDArray[Any]:
    return np.concatenate(arrays).astype(dtype) if arrays else np.empty(0, dtype)


def _split(
    turns: list[Any],
    prompts: Int32Array,
    answers: Int32Array,
    top_tokens: Int32Array,
    top_probs: Float32Array,
) -> Any:
    ours = answers, top_tokens, top_probs
    at_prompt = at_answer = 0
    for dialog, category, turn, prompt, answer in turns:
        own = slice(at_answer, at_answer + answer)
        if at_prompt + prompt > len(prompts) or own.stop > min(map(len, ours)):
            raise ValueError("its arrays are too short")
        yield Turn(
            dialog,
            category,
            turn,
            prompts[at_prompt : at_prompt + prompt],
            answers[own],
            top_tokens[own],
            top_probs[own],
        )
        at_prompt, at_answer = at_prompt + prompt, own.stop
