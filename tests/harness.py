"""What `scripts/faults` and `scripts/soak` share: how they end, and how tests run them.

Knows results and exit codes. Does not know what is tried.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import click

ROOT = Path(__file__).resolve().parents[1]


def finish(
    found: Mapping[str, Any],
    lines: Iterable[str],
    violations: list[str],
    began: float,
    out: Path | None,
) -> NoReturn:
    """Write the result, print it, and exit with 1 if anything was violated.

    Args:
        found: conditions and figures, for the JSON file.
        lines: the figures, for people.
        violations: what went wrong, in words.
        began: `time.monotonic()` at the beginning.
        out: the JSON file, or None.
    """
    seconds = round(time.monotonic() - began, 1)
    result = {**found, "seconds": seconds, "violations": violations}
    if out is not None:
        out.write_text(json.dumps(result, indent=1), encoding="utf-8")
    for line in lines:
        click.echo(line)
    for violation in violations:
        click.echo(f"VIOLATION {violation}", err=True)
    click.echo(f"{len(violations)} violations in {seconds} s")
    sys.exit(1 if violations else 0)


def run_short(module: str, options: list[str], out: Path) -> dict[str, Any]:
    """Run one of them with these options; it must succeed. Returns its result."""
    run = subprocess.run(
        [sys.executable, "-m", module, *options, "--json", str(out)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    result: dict[str, Any] = json.loads(out.read_text())
    return result
