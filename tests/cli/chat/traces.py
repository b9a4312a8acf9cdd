"""Searches all files below a folder for words and for token ids, as a stranger would who has it."""

import contextlib
import sqlite3

import numpy as np
from llama_cpp import Llama

from aded_edge.runtime.persistence import load_learned

RUN = 4
"""So many token ids in a row are a trace of a text."""


class Traces:
    """Finds traces of texts. The bytes of free pages and of write-ahead logs are searched as well.

    Args:
        model: the model file whose token ids are searched for.
        root: the folder.
    """

    def __init__(self, model, root):
        self._llama = Llama(str(model), vocab_only=True, verbose=False)
        self._root = root

    def of(self, word, sentence):
        """What is found of a sentence and of a rare word in it: a set of kinds of traces."""
        found = set()
        runs = self._runs(sentence)
        for file in self._root.rglob("*"):
            if file.is_file():
                data = file.read_bytes()
                if word.encode() in data.lower():
                    found.add("word")
                for dtype in ("<i4", "<i8"):
                    if any(run.astype(dtype).tobytes() in data for run in runs):
                        found.add("kv" if file.suffix == ".kv" else "ids")
        for store in self._root.rglob("store.db"):
            if any(self._learned(store, run) for run in runs):
                found.add("learned")
        return found

    def _runs(self, sentence):
        # Not the first and the last token: what stands beside the sentence may change them.
        ids = np.asarray(self._llama.tokenize(sentence.encode(), add_bos=False)[1:-1])
        assert len(ids) >= RUN
        return [ids[i : i + RUN] for i in range(len(ids) - RUN + 1)]

    def _learned(self, store, run):
        """Whether a part's log holds the ids in a row, by the package's own reader."""
        with contextlib.closing(sqlite3.connect(f"{store.as_uri()}?mode=ro", uri=True)) as conn:
            models = conn.execute("SELECT fingerprint FROM models").fetchall()
        for learned in [part for (model,) in models for part in load_learned(store, model)]:
            windows = np.lib.stride_tricks.sliding_window_view(
                np.append(learned.tokens, [-2] * RUN), RUN
            )
            if (windows == run).all(axis=1).any():
                return True
        return False
