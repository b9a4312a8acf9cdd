"""`scripts/faults`: kill -9, eight processes on one store, and damaged stores; minutes long.

Prints its conditions and seed, shows its progress, and exits with 1 if something that must hold did
not. Knows the parts of the harness. Does not know what a store holds.
"""

from __future__ import annotations

import platform
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

from aded_edge.errors import StoreError
from aded_edge.runtime.warm_up import WarmUp
from tests.faults import damage, disk
from tests.faults.children import Violation
from tests.faults.kills import crowd, kill_rounds, scenes
from tests.faults.scenes import store_in
from tests.gguf_files import write_tiny
from tests.harness import finish


@click.command()
@click.option("--rounds", type=click.IntRange(0), default=300, show_default=True, help="Of kills.")
@click.option("--crowd-seconds", type=click.FloatRange(0), default=60.0, show_default=True)
@click.option("--truncations", type=click.IntRange(0), default=50, show_default=True)
@click.option("--flips", type=click.IntRange(0), default=200, show_default=True)
@click.option("--disk/--no-disk", default=True, help="Full, read-only, locked.")
@click.option("--moved/--no-moved", default=True, help="The store is replaced while it is open.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True)
@click.option("--json", "out", type=click.Path(dir_okay=False, path_type=Path))
def faults(**options: Any) -> None:
    """Kill, crowd and damage stores of real processes; exit with 1 if anything was lost."""
    tqdm.monitor_interval = 0  # a thread of tqdm's must not exist when children are forked
    began = time.monotonic()
    conditions = {
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "system": platform.platform(),
        **{name: str(value) for name, value in options.items() if name != "out"},
    }
    click.echo(" ".join(f"{name}={value}" for name, value in conditions.items()))
    counts: dict[str, Any] = {}
    violations: list[str] = []
    with tempfile.TemporaryDirectory(prefix="aded-edge-faults-") as name:
        folder, model = Path(name), Path(name) / "tiny.gguf"
        write_tiny(model)
        WarmUp().wait()
        _kill(model, folder, options, counts, violations)
        _crowd(model, folder, options, counts, violations)
        _damage(model, folder, options, counts, violations)
        if options["disk"]:
            _disk(model, folder, options["moved"], counts, violations)
    lines = (f"{what}: {count}" for what, count in counts.items())
    found = {"conditions": conditions, "counts": counts}
    finish(found, lines, violations, began, options["out"])


def _guarded(violations: list[str], what: Callable[[], Any]) -> Any:
    try:
        return what()
    except (Violation, StoreError) as error:
        violations.append(str(error))
        return None


def _kill(
    model: Path, folder: Path, options: Any, counts: dict[str, Any], violations: list[str]
) -> None:
    with tqdm(desc="kills", unit="kill", disable=None) as bar:
        for scene, share in scenes(model) if options["rounds"] else ():
            rounds = max(options["rounds"] * share // 100, 1)
            place = folder / scene.name
            bar.set_postfix_str(scene.name)
            counts[scene.name] = _guarded(
                violations,
                lambda s=scene, p=place, r=rounds: kill_rounds(  # type: ignore[misc]
                    s, p, r, options["seed"], bar.update
                ),
            )


def _crowd(
    model: Path, folder: Path, options: Any, counts: dict[str, Any], violations: list[str]
) -> None:
    seconds = options["crowd_seconds"]
    if seconds:
        place = folder / "crowd"
        place.mkdir()
        with tqdm(desc="eight processes", total=seconds, unit="s", disable=None) as bar:
            counts["eight processes"] = _guarded(
                violations, lambda: crowd(model, place, seconds, options["seed"], bar.update)
            )


def _damage(
    model: Path, folder: Path, options: Any, counts: dict[str, Any], violations: list[str]
) -> None:
    base = folder / "base"
    base.mkdir()
    damage.build(model, base)
    size = store_in(base).stat().st_size
    found: Counter[str] = Counter()
    cases = list(damage.cases(size, options["truncations"], options["flips"], options["seed"]))
    for number, case in enumerate(tqdm(cases, desc="damage", unit="case", disable=None)):
        place = folder / f"damage-{number}"
        outcome = _guarded(
            violations,
            lambda c=case, p=place: damage.check_case(c, model, base, p),  # type: ignore[misc]
        )
        found[outcome or "violated"] += 1
    counts["damage"] = dict(found)


def _disk(
    model: Path, folder: Path, moved: bool, counts: dict[str, Any], violations: list[str]
) -> None:
    cases = disk.cases(moved)
    before = len(violations)
    for number, name in enumerate(tqdm(cases, desc="disk", unit="case", disable=None)):
        place = folder / f"disk-{number}"
        place.mkdir()
        found: list[str] = []
        _guarded(found, partial(cases[name], model, place))
        violations += [f"{name}: {each}" for each in found]
    counts["disk"] = {"cases": len(cases), "violated": len(violations) - before}


if __name__ == "__main__":
    faults()
