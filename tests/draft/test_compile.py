"""Compiled kernels on disk."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numba
import pytest

import aded_edge.arrays
import aded_edge.draft

PROGRAM = """
import numpy as np
from aded_edge.draft.calibration import Calibration
from aded_edge.draft.estimate import calibrate

calibration = Calibration()
calibration.counts[2] = 1.0
probs, cells = np.empty(1), np.empty(1, np.int16)
calibrate(np.ones(1), 1, np.zeros(2), calibration.counts, False, probs, cells)
print(probs[0])
"""


def test_a_kernel_is_compiled_anew_when_a_module_that_it_uses_has_changed(tmp_path):
    """After calibration.py changed, kernels of estimate.py that were compiled with it are stale."""
    package = copied(tmp_path)
    assert run(tmp_path) == "0.998"
    changed = package / "draft" / "calibration.py"
    source = changed.read_text(encoding="utf-8")
    assert source.count("SURE = 0.998") == 1
    changed.write_text(source.replace("SURE = 0.998", "SURE = 0.75"), encoding="utf-8")
    assert run(tmp_path) == "0.75"


@pytest.mark.skipif(numba.config.DISABLE_JIT, reason="nothing is compiled")
@pytest.mark.parametrize("damage", ["empty", "garbage", "a bit"])
@pytest.mark.parametrize("kind", ["nbi", "nbc"])
def test_a_damaged_cache_is_compiled_anew(tmp_path, damage, kind):
    """Numba itself raises EOFError, or runs what is left of the machine code."""
    package = copied(tmp_path)
    run(tmp_path)
    files = list(package.rglob(f"*.{kind}"))
    assert files
    for file in files:
        content = bytearray(file.read_bytes())
        content[len(content) * 2 // 3] ^= 1
        file.write_bytes({"empty": b"", "garbage": b"garbage" * 99, "a bit": content}[damage])
    damaged = {file: file.read_bytes() for file in files}
    assert run(tmp_path) == "0.998"
    assert run(tmp_path) == "0.998"
    # What was damaged is not left: its file was written anew, or is no longer referred to.
    still = [f for f in package.rglob(f"*.{kind}") if f.read_bytes() == damaged.get(f)]
    assert damage == "a bit" or not still


def copied(folder):
    """A copy of the package's drafting, with a cache of its own."""
    package = folder / "aded_edge"
    shutil.copytree(
        Path(aded_edge.draft.__file__).parent,
        package / "draft",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    (package / "__init__.py").touch()
    shutil.copy(aded_edge.arrays.__file__, package)
    return package


def run(folder):
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    command = [sys.executable, "-c", PROGRAM]
    result = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    return result.stdout.strip()
