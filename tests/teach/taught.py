"""What a store holds after it was taught with the tiny model, whose tokens are bytes."""

import numpy as np

from aded_edge.store import Store


def n_tokens(text):
    """Tokens of the tiny model: bytes, and a space is three; it puts one before every text."""
    return len((" " + text).replace(" ", "\u2581").encode())


def held(path):
    """(log of tokens, keys of contexts, {digest: tokens} of the texts) of the one model."""
    with Store.open(path) as store:
        with store._file.reading() as conn:
            ((fingerprint,),) = conn.execute("SELECT fingerprint FROM models").fetchall()
            noted = dict(conn.execute("SELECT sha256, tokens FROM learned_texts").fetchall())
        parts, _ = store.model(fingerprint, "tiny").load()
    log = np.concatenate([part.tokens for part in parts])
    keys = {int(key) for part in parts for key in part.contexts}
    return log[log >= 0].tolist(), keys, noted
