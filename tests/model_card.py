"""Tries every architecture and writes the result into docs/models.md: scripts/model-card

The models are tiny and random (tests/architectures.py). Each row is measured here and now:
`tests/runtime/test_architectures.py` holds that it stays so. With `--cost` four layers of a
model of the shape of Qwen3.5-0.8B is written, with random weights in Q4_0, and the time of its
steps is measured.
"""

from __future__ import annotations

import argparse
import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import llama_cpp
import numpy as np

from aded_edge.llamacpp.context import reopen
from aded_edge.llamacpp.recurrent import is_recurrent, open_target
from tests import architectures
from tests.architectures import ARCHITECTURES, write_architecture
from tests.trials import CHAINS, LONG, OTHER, PROMPT, Trial, adversarial, calls, take

PAGE = Path(__file__).resolve().parent.parent / "docs" / "models.md"

COLUMNS = ("architecture", "plain equal", "drafted", "rolled back", "state", "prefix")

LAYERS = 4
"""Layers of the larger model, three of four recurrent; Qwen3.5-0.8B has 24."""

ROUNDS = 3
STEPS = 16
"""Steps whose time is measured in each round, for each width and number of copies."""

PARTIAL = llama_cpp.LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY


def main() -> None:
    """Measure, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cost", action="store_true", help="the steps of a larger model instead")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if wanted.cost:
            fill("cost", cost_table(Path(folder)))
            return
        rows = [COLUMNS, ("---",) * len(COLUMNS)]
        for kind in ARCHITECTURES:
            path = Path(folder) / f"{kind}.gguf"
            write_architecture(path, kind)
            trial = Trial(path)
            rows.append((kind, *tried(trial, Path(folder) / "state")))
            trial.close()
    fill("architectures", ["| " + " | ".join(row) + " |" for row in rows])


def fill(name: str, lines: list[str]) -> None:
    """Put lines between the marks of this name in the page."""
    begin, end = f"<!-- {name}: scripts/model-card -->\n", f"<!-- end of {name} -->"
    page = PAGE.read_text()
    found = re.search(re.escape(begin) + ".*?" + re.escape(end), page, re.DOTALL)
    assert found is not None, name
    text = begin + "\n".join(["", *lines, "", ""]) + end
    PAGE.write_text(page[: found.start()] + text + page[found.end() :])
    print("\n".join(lines))


def tried(trial: Trial, file: Path) -> tuple[str, ...]:
    """The cells of an architecture."""
    answer, same, drafted, accepted = trial.answer(), 0, 0, 0
    with calls() as seen:
        for make in CHAINS.values():
            llama = trial.force(make)
            llama.reset()
            same += take(llama, PROMPT, LONG) == answer
            drafted += llama.stats.drafted
            accepted += llama.stats.accepted
    equal = f"{same} of {len(CHAINS)} answers of {LONG} tokens"
    removals = [done for begin, done in seen.removals if begin > len(PROMPT)]
    back = f"{sum(removals)} times"
    if is_recurrent(llama):
        back += f", {seen.copies - len(CHAINS)} copies on the host"  # one behind each prompt
    if not trial.drafts:
        return equal, f"no: {llama.stats.plain_because}", "-", state(trial, file), "as llama_cpp"
    return (
        equal,
        f"chains, {accepted} of {drafted} accepted",
        back,
        state(trial, file),
        prefix(trial),
    )


def state(trial: Trial, file: Path) -> str:
    """Whether answers go on behind states that were saved in memory and in a file."""
    llama, answer = trial.force(adversarial), trial.answer()
    llama.reset()
    take(llama, PROMPT, 30)
    kept = llama.save_state()
    llama.save_kv(file)
    ways: dict[str, Callable[[], Any]] = {
        "memory": lambda: llama.load_state(kept),
        "file": lambda: llama.load_kv(file),
    }
    good = []
    for name, restore in ways.items():
        take(llama, OTHER, 5)
        restore()
        if take(llama, [*PROMPT, *answer[:30]], 40) == answer[30:70]:
            good.append(name)
    return " and ".join(good) or "no"


def prefix(trial: Trial) -> str:
    """How many tokens of a prompt are read when it is continued, and when it is asked again."""
    llama, answer = trial.force(adversarial), trial.answer()
    llama.reset()
    take(llama, PROMPT, 20)
    read = []
    for prompt in ([*PROMPT, *answer[:20], *OTHER], PROMPT):
        with calls() as seen:
            take(llama, prompt, 1)
        read.append(f"{sum(seen.rows)} of {len(prompt)}")
    return f"continued: reads {read[0]}; again: {read[1]}"


def write_large(path: Path) -> None:
    """Four layers of a model of the shape of Qwen3.5-0.8B, with a small vocabulary."""
    sizes = {
        "WIDTH": 1024,
        "LAYERS": LAYERS,
        "HEADS": 8,
        "KV_HEADS": 2,
        "HEAD": 256,
        "HIDDEN": 3584,
    }
    sizes |= {"STATE": 128, "GROUPS": 16, "DELTA_HEADS": 16}
    vars(architectures).update(sizes)
    small = ARCHITECTURES["qwen35"]

    def layer(number: int) -> dict[str, Any]:
        return small.layer(number % 4 // 3)  # three recurrent layers, then one of attention

    ARCHITECTURES["qwen35"] = small._replace(layer=layer)
    keys = {"embedding_length": 1024, "block_count": LAYERS, "feed_forward_length": 3584}
    keys |= {"head_count": 8, "head_count_kv": 2, "key_length": 256, "value_length": 256}
    keys |= {"rope_dimension_count": 64, "rope_dimension_sections": [11, 11, 10, 0]}
    keys |= {"ssm_inner_size": 2048, "ssm_state_size": 128, "ssm_group_count": 16}
    keys |= {"ssm_time_step_rank": 16, "full_attention_interval": 4}
    matrices = ("qkv", "gate", "up", "down", "out", "attn_q", "attn_k", "attn_v", "output")
    kinds = {
        f"blk.{number}.{name}": gguf.GGMLQuantizationType.Q4_0
        for number in range(LAYERS)
        for name in layer(number)
        if "norm" not in name and any(part in name for part in matrices)
    }
    write_architecture(path, "qwen35", keys=keys, kinds=kinds)


def cost_table(folder: Path) -> list[str]:
    """Milliseconds of steps by width, with several numbers of copies of the state."""
    path = folder / "large.gguf"
    write_large(path)
    llama = llama_cpp.Llama(str(path), n_ctx=512, n_threads=1, n_threads_batch=1, verbose=False)
    numbers, widths = (0, 3, 7, 15), (1, 2, 4, 8, 16)
    fastest: dict[tuple[int, int], float] = {}
    for snapshots in numbers * ROUNDS:
        reopen(llama, n_seq_max=1, kv_unified=False, n_rs_seq=snapshots)
        for width in widths:
            if width <= snapshots + 1:
                found = step_time(llama, width)
                key = snapshots, width
                fastest[key] = min(found, fastest.get(key, found))
    lines = [
        "| copies (`n_rs_seq`) | 1 row | " + " | ".join(f"{w} rows" for w in widths[1:]) + " |"
    ]
    lines.append("| --- |" + " --- |" * len(widths))
    for snapshots in numbers:
        cells = [
            f"{fastest[snapshots, width]:.1f} ms" if (snapshots, width) in fastest else "-"
            for width in widths
        ]
        lines.append(f"| {snapshots} | " + " | ".join(cells) + " |")
    return [*lines, "", host_copy(llama)]


def step_time(llama: Any, width: int) -> float:
    """Milliseconds of the fastest step of which all but the root is taken back.

    CPU time: other processes hardly count, and with one thread there is no other.
    """
    llama.reset()
    target = open_target(llama)
    target.truncate(0)
    llama.eval(list(range(3, 131)))
    tokens, parents = np.arange(20, 19 + width, dtype=np.int32), np.arange(-1, width - 2)
    times = []
    for _ in range(STEPS):
        began = time.thread_time()
        target.evaluate(10, tokens, parents.astype(np.int32))
        target.advance(0)
        target.settle()
        times.append(time.thread_time() - began)
    return 1000 * min(times)


def host_copy(llama: Any) -> str:
    """What a checkpoint on the host costs."""
    size = llama_cpp.llama_state_seq_get_size_ext(llama.ctx, 0, PARTIAL)
    buffer = (llama_cpp.ctypes.c_uint8 * size)()
    times = []
    for _ in range(STEPS):
        began = time.thread_time()
        llama_cpp.llama_state_seq_get_data_ext(llama.ctx, buffer, size, 0, PARTIAL)
        taken = time.thread_time()
        llama_cpp.llama_state_seq_set_data_ext(llama.ctx, buffer, size, 0, PARTIAL)
        times.append((1000 * (taken - began), 1000 * (time.thread_time() - taken)))
    taking, restoring = (min(each) for each in zip(*times, strict=True))
    return (
        f"A state has {size / 1e6:.1f} MB. Copying it to the host takes {taking:.1f} ms, and "
        f"restoring it {restoring:.1f} ms; a draft that is taken back natively needs neither."
    )


if __name__ == "__main__":
    main()
