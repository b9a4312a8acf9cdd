"""The layering: who may import whom, read from the sources."""

import ast
import inspect
from pathlib import Path

import pytest

import aded_edge

PACKAGE = Path(aded_edge.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))


def name_of(path):
    """aded_edge/draft/__init__.py -> aded_edge.draft"""
    parts = [PACKAGE.name, *path.relative_to(PACKAGE).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {name_of(path): path for path in MODULES}


def imports(name):
    """Absolute names of all that a module imports, also inside functions and for types alone."""
    path = NAMES[name]
    package = name.split(".") if path.stem == "__init__" else name.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                inner = f"{source}.{alias.name}"
                yield inner if inner in NAMES else source


def is_in(module, *parts):
    return any(module == part or module.startswith(f"{part}.") for part in parts)


def modules(*parts):
    """All modules in these parts of the package."""
    found = [name for name in NAMES if is_in(name, *(f"aded_edge.{part}" for part in parts))]
    assert found, f"{parts} is no part of the package"
    return found


def assert_never(importers, *imported):
    for importer in importers:
        offences = [name for name in imports(importer) if is_in(name, *imported)]
        assert not offences, f"{importer} must not import {offences}"


@pytest.mark.parametrize("part", ["draft", "target", "store"])
def test_draft_target_and_store_know_nothing_of_each_other_nor_of_what_is_above(part):
    allowed = (f"aded_edge.{part}", "aded_edge.errors")
    for name in modules(part):
        inside = [module for module in imports(name) if is_in(module, "aded_edge")]
        assert [module for module in inside if not is_in(module, *allowed)] == []


def test_decode_knows_drafts_and_no_more():
    """It meets target and budget by their protocols."""
    allowed = ("aded_edge.decode", "aded_edge.draft", "aded_edge.errors")
    for name in modules("decode"):
        inside = [module for module in imports(name) if is_in(module, "aded_edge")]
        assert [module for module in inside if not is_in(module, *allowed)] == []


def test_drafting_and_decoding_need_no_model_and_no_file():
    assert_never(modules("draft", "decode"), "llama_cpp", "sqlite3", "sqlite_utils")


def test_the_store_compiles_nothing_and_loads_no_model():
    assert_never(modules("store"), "numba", "llama_cpp")


def test_only_the_target_its_wiring_and_the_benchmark_touch_llama_cpp():
    others = NAMES.keys() - {*modules("target", "bench"), "aded_edge.llama"}
    assert_never(others, "llama_cpp")


def test_only_the_store_touches_sql():
    assert_never(NAMES.keys() - {*modules("store")}, "sqlite3", "sqlite_utils")


def test_only_drafting_and_decoding_are_compiled():
    assert_never(NAMES.keys() - {*modules("draft", "decode")}, "numba")


def test_nothing_builds_on_the_command_line():
    """Chat and commands parse, call and print; what can be used elsewhere lies below them."""
    commands = {"aded_edge.cli", "aded_edge.cli_assistant", "aded_edge.cli_bench"}
    entries = {"aded_edge.__main__", *commands, *modules("chat")}
    assert_never(NAMES.keys() - entries, "aded_edge.chat", "aded_edge.__main__", *commands)
    assert_never(commands, "aded_edge.chat")
    borrowed = {name for module in modules("chat") for name in imports(module)} & commands
    assert borrowed == {"aded_edge.cli"}  # `guarded`


def test_the_chat_is_built_on_the_assistant_and_nothing_below_it():
    """What a chat can do, a program can do with `Assistant`."""
    assert_never(modules("chat"), "aded_edge.llama", "aded_edge.target", "aded_edge.draft")


def test_the_assistant_sits_on_the_model_and_knows_no_terminal():
    assert_never(modules("assistant"), "click", "rich", "prompt_toolkit", "aded_edge.draft")


@pytest.mark.parametrize("name", NAMES)
def test_every_module_says_what_it_is(name):
    tree = ast.parse(NAMES[name].read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), f"{name} has no docstring"


def test_the_package_exports_what_it_says_and_nothing_else():
    exported = {
        name
        for name, member in vars(aded_edge).items()
        if not name.startswith("_") and not inspect.ismodule(member)
    }
    assert exported == set(aded_edge.__all__)
    assert aded_edge.__all__ == sorted(aded_edge.__all__)
    assert all(vars(aded_edge)[name].__doc__ for name in exported)


def test_relative_and_absolute_imports_are_both_seen():
    """The reader of imports itself, on modules that import in all ways."""
    assert "aded_edge.draft.tree" in set(imports("aded_edge.decode.loop"))  # from ..draft.tree
    assert "aded_edge.store.database" in set(imports("aded_edge.store.store"))  # by its full name
    assert "aded_edge.store" in set(imports("aded_edge.memory"))  # from . import store
    assert "aded_edge.bench.report" in set(imports("aded_edge.cli_bench"))  # inside a function
    assert "llama_cpp" in set(imports("aded_edge.target.llama_cpp"))
