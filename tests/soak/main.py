"""`scripts/soak`: long runs that must stay level, and a poisoned store that must not cost much.

Prints its conditions and figures, and exits with 1 if a limit is passed. Knows the parts of the
soak. Does not know how they decode.
"""

from __future__ import annotations

import os
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

from aded_edge.models.default import default_model_path
from tests.gguf_files import write_tiny
from tests.harness import finish
from tests.soak import poison, runs, track


@click.command()
@click.option("--steps", type=click.IntRange(0), default=100_000, show_default=True)
@click.option("--model-steps", type=click.IntRange(0), default=20_000, show_default=True)
@click.option("--model", type=click.Path(exists=True, path_type=Path), help="Instead of SmolLM2.")
@click.option("--tiny", is_flag=True, help="A tiny model with random weights instead.")
@click.option("--poison-answers", type=click.IntRange(0), default=12, show_default=True)
@click.option("--poison-tokens", type=click.IntRange(64), default=160, show_default=True)
@click.option("--untimed", is_flag=True, help="Do not judge times; for a busy machine.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True)
@click.option("--json", "out", type=click.Path(dir_okay=False, path_type=Path))
def soak(**options: Any) -> None:
    """Decode for long, and from a poisoned store; exit with 1 if anything grows or costs much."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="aded-edge-soak-") as name:
        folder = Path(name)
        model = options["model"] or default_model_path()
        if options["tiny"]:
            model = folder / "tiny.gguf"
            write_tiny(model)
        conditions = {
            "python": platform.python_version(),
            "system": platform.platform(),
            "cores": os.cpu_count(),
            **{key: str(value) for key, value in options.items() if key != "out"},
            "model": model.name,
        }
        click.echo(" ".join(f"{key}={value}" for key, value in conditions.items()))
        figures, violations = _run(model, folder, options)
    lines = (
        f"{what}: " + " ".join(f"{key}={value}" for key, value in about.items())
        for what, about in figures.items()
    )
    found = {"conditions": conditions, "figures": figures}
    finish(found, lines, violations, began, options["out"])


def _run(model: Path, folder: Path, options: Any) -> tuple[dict[str, Any], list[str]]:
    seed, figures, violations = options["seed"], dict[str, Any](), list[str]()
    for name, steps in (("scripted", options["steps"]), ("model", options["model_steps"])):
        if not steps:
            continue
        store = folder / f"{name}.db"
        with tqdm(desc=name, total=steps, unit="step", disable=None) as bar:
            if name == "scripted":
                figures[name] = runs.scripted(steps, seed, store, bar.update)
            else:
                figures[name] = runs.real(model, steps, seed, store, bar.update)
        violations += track.violations(name, figures[name], not options["untimed"])
    if options["poison_answers"]:
        for name, trusted in (("poisoned", False), ("poisoned, forged", True)):
            figures[name] = about = poison.poisoned(
                model,
                options["poison_answers"],
                options["poison_tokens"],
                seed,
                folder / f"{name}.db",
                trusted,
            )
            if about["cost"] > poison.MOST_COST:
                violations.append(f"{name}: a token costs {about['cost']}")
            if not trusted and about["last_window"] > poison.LEVEL:
                violations.append(f"{name}: not forgotten after {about['tokens']} tokens")
    return figures, violations


if __name__ == "__main__":
    soak()
