"""Only `cli/output.py` writes on a terminal, and what it writes is harmless."""

import ast
import io
from pathlib import Path

import aded_edge
from aded_edge.cli.output import console, dim, plain_table, print_json, say

PACKAGE = Path(aded_edge.__file__).parent

ALLOWED = {
    "cli/output.py": None,  # all of them
    "cli/chat/line.py": {"sys.stderr.write"},  # a prompt of two characters
    "cli/start.py": {"print"},  # one line of our own, before anything else is imported
    "models/default.py": {"print"},  # one line, and the path for scripts
}
WRITERS = {
    "print", "click.echo", "click.secho", "click.confirm", "click.prompt", "click.style", "Console",
    "sys.stdout.write", "sys.stderr.write", "logging.StreamHandler", "error.show",
}  # fmt: skip


def test_nothing_else_writes():
    found = []
    for path in PACKAGE.rglob("*.py"):
        name = path.relative_to(PACKAGE).as_posix()
        allowed = ALLOWED.get(name, set())
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if allowed is not None and isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                if called in WRITERS - allowed:
                    found.append(f"{name}:{node.lineno} {called}")
    assert found == []


def test_texts_for_people_are_harmless(capsys):
    say("a\x1b[2Jb")
    dim("c\u202ed")
    print_json({"e": "f\x9bg"})
    out, err = capsys.readouterr()
    assert out == 'a\\u001b[2Jb\n{"e": "f\\u009bg"}\n'
    assert "\\u202e" in err
    assert "\u202e" not in err
    to = console()
    to.file = io.StringIO()
    table = plain_table("x\x1by")
    table.add_row("z\x07:smile:[b]")
    to.print(table)
    shown = to.file.getvalue()
    assert "\\u001b" in shown
    assert "\\u0007:smile:[b]" in shown
