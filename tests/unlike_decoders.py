"""Tiny random models that do not write one token after the other: `write_unlike(path, "t5")`.

The names, shapes and keys are those that llama.cpp's loaders ask for, as in `architectures.py`.
"""

import gguf

from tests.gguf_files import TOKENS, write_model

WIDTH, LAYERS, HIDDEN, HEADS = 64, 2, 128, 4
BUCKETS = 8
"""Distances that T5 tells apart."""

LABELS = ("no", "yes")
"""What the reranker says of a text."""

START = 5
"""The token that T5's answers begin behind."""

_COMMON = {
    "context_length": 512,
    "embedding_length": WIDTH,
    "block_count": LAYERS,
    "feed_forward_length": HIDDEN,
    "head_count": HEADS,
}
_VOCABULARY = (len(TOKENS), WIDTH)
_ROWS = (HIDDEN, WIDTH)


def _square(*names):
    return dict.fromkeys((f"{name}.weight" for name in names), (WIDTH, WIDTH))


def _norms(*names, biased=False):
    ends = ("weight", "bias") if biased else ("weight",)
    return {f"{name}.{end}": (WIDTH,) for name in names for end in ends}


def _layers(before, layer):
    return {
        f"{before}blk.{n}.{name}": shape for n in range(LAYERS) for name, shape in layer.items()
    }


def _t5(parts):
    attention = ("attn_q", "attn_k", "attn_v", "attn_o")
    rows = {"ffn_up.weight": _ROWS, "ffn_down.weight": (WIDTH, HIDDEN)}
    distances = {"attn_rel_b.weight": (BUCKETS, HEADS)}
    layer = _norms("attn_norm", "ffn_norm") | _square(*attention) | rows | distances
    crossing = _norms("cross_attn_norm") | _square(*(f"cross_{name}" for name in attention))
    shapes = {"token_embd.weight": _VOCABULARY, "output.weight": _VOCABULARY}
    for part in parts:
        shapes |= _norms(f"{part}.output_norm")
        shapes |= _layers(f"{part}.", layer | crossing if part == "dec" else layer)
    return shapes


def _bert(**further):
    layer = _square("attn_q", "attn_k", "attn_v", "attn_output")
    layer |= _norms("attn_output_norm", "layer_output_norm", biased=True)
    layer |= {"ffn_up.weight": _ROWS, "ffn_down.weight": (WIDTH, HIDDEN)}
    shapes = {"token_embd.weight": _VOCABULARY, "token_types.weight": (2, WIDTH)}
    shapes |= {"position_embd.weight": (_COMMON["context_length"], WIDTH)}
    return shapes | _norms("token_embd_norm", biased=True) | _layers("", layer) | further


def _diffusion():
    layer = _square("attn_q", "attn_k", "attn_v", "attn_output") | _norms("attn_norm", "ffn_norm")
    layer |= {"ffn_gate.weight": _ROWS, "ffn_up.weight": _ROWS, "ffn_down.weight": (WIDTH, HIDDEN)}
    shapes = {"token_embd.weight": _VOCABULARY, "output.weight": _VOCABULARY}
    return shapes | _norms("output_norm") | _layers("", layer)


_BERT = {"layer_norm_eps": 1e-5, "token_type_count": 2, "causal_attention": False}
_T5 = {"layer_norm_rms_eps": 1e-5, "relative_attn_buckets_count": BUCKETS}
_DIFFUSION = {"layer_norm_rms_eps": 1e-5, "rope_dimension_count": WIDTH // HEADS}
_JUDGES = {"pooling_type": gguf.PoolingType.RANK, "classifier_output_labels": LABELS}

UNLIKE = {
    "t5": ("t5", _T5 | {"decoder_start_token_id": START}, _t5(("enc", "dec"))),
    "t5encoder": ("t5encoder", _T5, _t5(("enc",))),
    "bert": ("bert", _BERT | {"pooling_type": gguf.PoolingType.MEAN}, _bert()),
    "bert of tokens": ("bert", _BERT | {"pooling_type": gguf.PoolingType.NONE}, _bert()),
    "reranker": (
        "bert",
        _BERT | _JUDGES,
        _bert(
            **_square("cls"), **{"cls.bias": (WIDTH,), "cls.output.weight": (len(LABELS), WIDTH)}
        ),
    ),
    "dream": ("dream", _DIFFUSION, _diffusion()),
    "llada": ("llada", _DIFFUSION, _diffusion()),
}
"""What `write_unlike` can write: architecture, keys, shapes."""


def write_unlike(path, kind):
    """Write a tiny model; the same weights every time."""
    architecture, keys, shapes = UNLIKE[kind]
    write_model(path, architecture, _COMMON | keys, shapes, name=f"tiny {kind}")
