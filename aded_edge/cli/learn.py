"""`learn`: teach a model's matrix the texts in files and folders.

Knows a progress bar and a summary. Does not know which files are text, nor how a text is learned.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import click
from tqdm import tqdm

from aded_edge.errors import ConfigError
from aded_edge.files import Skipped, find
from aded_edge.models.resolve import resolve
from aded_edge.teach.learn import TextLearner, learn_files
from aded_edge.teach.lessons import Lessons, lessons_of, load_for_teaching

from .options import STORE, Command
from .output import say
from .signals import until_interrupted
from .teaching import holdings


class _Learn(Command):
    """`MODEL` is the first of its arguments, so click does not see a parameter of this name."""

    def names(self) -> set[str | None]:
        """Return the names of the parameters, and the model's."""
        return {*super().names(), "model"}


@click.command(cls=_Learn)
@click.argument("given", nargs=-1, required=True, metavar="[MODEL] PATHS...")
@STORE
@click.pass_context
def learn(context: click.Context, given: tuple[str, ...], store: Path) -> None:
    """Teach a model's matrix the texts in files and folders.

    MODEL can be left out if the config file names one. Each text counts once, however often it is
    learned. In folders, hidden files and folders, installed packages, and files that are not UTF-8
    text are skipped.
    """
    model, paths = _model_and_paths(given, context.lookup_default("model"))
    skipped = Skipped()
    files = find(paths, skipped)
    with (
        closing(load_for_teaching(resolve(model), n_ctx=256)) as llama,
        closing(lessons_of(llama, store)) as lessons,
        until_interrupted() as interrupted,
    ):
        learner = TextLearner(llama, lessons)
        with tqdm(total=sum(file.size for file in files), unit="B", unit_scale=True) as bar:
            learn_files(files, learner, skipped, bar.update, interrupted)
    _report(learner, skipped, lessons, store)
    if interrupted():
        say("stopped: the texts counted above are saved; run the command again to go on")
        raise KeyboardInterrupt
    if not learner.learned and not learner.known:
        raise ConfigError(f"no text in {', '.join(map(str, paths))}; give UTF-8 text files")


def _model_and_paths(given: Sequence[str], default: str | None) -> tuple[str, list[Path]]:
    """Split the arguments. The first is the model, unless it can only be a text."""
    first = Path(given[0])
    if default is not None and first.exists() and first.suffix.lower() != ".gguf":
        given = [default, *given]
    if len(given) == 1:
        raise click.UsageError(
            f"{given[0]!r} is taken for the model, and nothing else is given; add files or folders "
            "that exist"
        )
    return given[0], [Path(path) for path in given[1:]]


def _report(learner: TextLearner, skipped: Skipped, lessons: Lessons, store: Path) -> None:
    known = len(learner.known - learner.learned)
    say(f"learned {len(learner.learned):,} files, {learner.tokens:,} tokens; known {known:,}")
    if str(skipped):
        say(f"skipped: {skipped}")
    for line in holdings(lessons, store, learner.tokens):
        say(line)
