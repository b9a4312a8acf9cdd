"""Clones for the tests of the scripts: nothing is installed in them, and PATH holds little.

Knows what the scripts need of a repository and of PATH. Does not know what they are for.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ["bash", "cat", "cksum", "dirname", "env", "grep", "readlink", "sed"]

# Replaces _install.py: says that it ran, and makes a Python that prints its arguments.
INSTALLER = """
import os, sys
from pathlib import Path

venv, recipe = Path(sys.argv[2]), sys.argv[3]
print("installing with CMAKE_ARGS=" + os.environ["CMAKE_ARGS"], file=sys.stderr)
python = venv / "bin/python"
python.parent.mkdir(parents=True, exist_ok=True)
python.write_text(f'#!/bin/sh\\n[ "$1" = -ISc ] && exec "{sys.executable}" "$@"\\necho "$@"\\n')
python.chmod(0o755)
version = "python %d.%d" % sys.version_info[:2]
(venv / "aded-edge.stamp").write_text(f"{recipe}\\n{version}\\n")
"""


def copy_scripts(root: Path) -> Path:
    """The part of the repository that the scripts need."""
    for name in (".ci", "scripts"):
        shutil.copytree(ROOT / name, root / name)
    for name in ("pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, root / name)
    return root


def tools_in(folder: Path, *more: str) -> Path:
    """A folder for PATH that has no Python and no compiler."""
    folder.mkdir()
    for name in (*TOOLS, *more):
        found = shutil.which(name)
        assert found is not None
        (folder / name).symlink_to(found)
    return folder


def install_by_stand_in(clone: Path, tools: Path) -> None:
    """Give a clone a stand-in for the installer, and PATH Python and a compiler."""
    (clone / "scripts/_install.py").write_text(INSTALLER)
    for name in ("cc", "c++"):
        put(tools / name, "exit 0")
    put_python(tools / "python3")


def put(path: Path, script: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)  # it may be a link to the system's own program
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def put_python(path: Path) -> None:
    put(path, f'exec "{sys.executable}" "$@"')


def run(script: Path, path: Path, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    # From another folder and with an empty environment: a script must need neither.
    return subprocess.run(
        [script, *args], env={"PATH": str(path), **env}, cwd="/", capture_output=True, text=True
    )
