"""The package as a whole: what it exports, and that every module says what it is.

Who may import whom is held by import-linter (pyproject.toml, run by scripts/check).
"""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import aded_edge

PACKAGE = Path(aded_edge.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_module_says_what_it_is(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), f"{path} has no docstring"


def test_the_package_exports_what_it_says_and_nothing_else():
    assert aded_edge.__all__ == sorted(aded_edge.__all__)
    assert all(getattr(aded_edge, name).__doc__ for name in aded_edge.__all__)
    exported = {
        name
        for name, member in vars(aded_edge).items()
        if not name.startswith("_") and not inspect.ismodule(member)
    }
    assert exported == set(aded_edge.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        aded_edge.nothing  # noqa: B018


def test_the_package_is_imported_before_what_takes_long():
    """So that a command handles Ctrl-C from its first moment."""
    code = "import sys, aded_edge.cli.start; print({'llama_cpp', 'numba'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
