"""Tiny random models of several architectures: `write_architecture(path, "qwen35")`.

The names, shapes and keys are those that llama.cpp's loaders ask for (src/models/*.cpp of the
source that llama-cpp-python 0.3.36 carries). All have the vocabulary of `gguf_files`: bytes.
"""

from collections.abc import Callable
from typing import NamedTuple

from tests.gguf_files import TOKENS, write_model

WIDTH, LAYERS = 64, 4
HEADS, KV_HEADS, HEAD = 4, 2, 16
HIDDEN = 128
EXPERTS, USED_EXPERTS = 4, 2
WINDOW = 32
"""Tokens of gemma3's sliding window."""

STATE, GROUPS, DELTA_HEADS = 16, 2, 4
"""Qwen3.5's recurrent layers: size of a head, heads of the keys and of the values."""

INNER, RANK = 2 * WIDTH, 4
"""Mamba: llama.cpp wants an inner size of twice the width."""

_COMMON = {
    "context_length": 2048,
    "embedding_length": WIDTH,
    "block_count": LAYERS,
    "feed_forward_length": HIDDEN,
    "head_count": HEADS,
    "head_count_kv": KV_HEADS,
    "key_length": HEAD,
    "value_length": HEAD,
    "layer_norm_rms_eps": 1e-5,
    "rope_dimension_count": HEAD,
}


class Architecture(NamedTuple):
    """An architecture: its name in GGUF, its own keys, and the tensors of a layer.

    `rolls_back` is None for a model with attention only; else whether llama.cpp can take tokens
    back from its recurrent memory.
    """

    name: str
    keys: dict
    layer: Callable
    rolls_back: bool | None = None
    output_norm: str = "output_norm"


def _matrices(**sizes):
    return {f"{name}.weight": size for name, size in sizes.items()}


def _attention(*, normed=True, gated=False):
    queries, pairs = HEADS * HEAD, KV_HEADS * HEAD
    shapes = _matrices(
        attn_norm=(WIDTH,),
        attn_q=(queries * (2 if gated else 1), WIDTH),
        attn_k=(pairs, WIDTH),
        attn_v=(pairs, WIDTH),
        attn_output=(WIDTH, queries),
    )
    return shapes | (_matrices(attn_q_norm=(HEAD,), attn_k_norm=(HEAD,)) if normed else {})


def _feed_forward(*, norm="ffn_norm"):
    rows = (HIDDEN, WIDTH)
    return _matrices(**{norm: (WIDTH,)}, ffn_gate=rows, ffn_up=rows, ffn_down=(WIDTH, HIDDEN))


def _experts():
    rows = (EXPERTS, HIDDEN // 2, WIDTH)
    return _matrices(
        ffn_norm=(WIDTH,),
        ffn_gate_inp=(EXPERTS, WIDTH),
        ffn_gate_exps=rows,
        ffn_up_exps=rows,
        ffn_down_exps=(EXPERTS, WIDTH, HIDDEN // 2),
    )


def _gemma(_):
    return (
        _attention()
        | _feed_forward()
        | _matrices(post_attention_norm=(WIDTH,), post_ffw_norm=(WIDTH,))
    )


def _delta_net():
    """A recurrent layer of Qwen3.5."""
    keys, values = GROUPS * STATE, DELTA_HEADS * STATE
    shapes = _matrices(
        attn_norm=(WIDTH,),
        attn_qkv=(2 * keys + values, WIDTH),
        attn_gate=(values, WIDTH),
        ssm_conv1d=(2 * keys + values, 4),
        ssm_beta=(DELTA_HEADS, WIDTH),
        ssm_alpha=(DELTA_HEADS, WIDTH),
        ssm_norm=(STATE,),
        ssm_out=(WIDTH, values),
    )
    return shapes | {"ssm_dt.bias": (DELTA_HEADS,), "ssm_a": (DELTA_HEADS,)}


def _qwen35(layer):
    mixer = _delta_net() if layer % 2 == 0 else _attention(gated=True)
    return mixer | _feed_forward(norm="post_attention_norm")


def _lfm2(layer):
    convolution = _matrices(attn_norm=(WIDTH,)) | {
        "shortconv.conv.weight": (WIDTH, 3),
        "shortconv.in_proj.weight": (3 * WIDTH, WIDTH),
        "shortconv.out_proj.weight": (WIDTH, WIDTH),
    }
    return (convolution if layer % 2 == 0 else _attention()) | _feed_forward()


def _mamba(_):
    shapes = _matrices(
        attn_norm=(WIDTH,),
        ssm_in=(2 * INNER, WIDTH),
        ssm_conv1d=(INNER, 4),
        ssm_x=(RANK + 2 * STATE, INNER),
        ssm_dt=(INNER, RANK),
        ssm_out=(WIDTH, INNER),
    )
    biases = {"ssm_conv1d.bias": (INNER,), "ssm_dt.bias": (INNER,)}
    return shapes | biases | {"ssm_a": (INNER, STATE), "ssm_d": (INNER,)}


def _mamba2():
    mixed = INNER + 2 * STATE
    shapes = _matrices(
        attn_norm=(WIDTH,),
        ssm_in=(INNER + mixed + RANK, WIDTH),
        ssm_conv1d=(mixed, 4),
        ssm_norm=(1, INNER),
        ssm_out=(WIDTH, INNER),
    )
    biases = {"ssm_conv1d.bias": (mixed,), "ssm_dt.bias": (RANK,)}
    return shapes | biases | {"ssm_a": (RANK, 1), "ssm_d": (RANK, 1)}


def _granite_hybrid(layer):
    return (_mamba2() if layer % 2 == 0 else _attention(normed=False)) | _feed_forward()


_EVERY_OTHER = [0, KV_HEADS] * (LAYERS // 2)
"""Heads of each layer, where a layer without any is a recurrent one."""

_MAMBA = {"ssm_conv_kernel": 4, "ssm_inner_size": INNER, "ssm_state_size": STATE}
_MAMBA |= {"ssm_time_step_rank": RANK}

ARCHITECTURES = {
    "llama": Architecture("llama", {}, lambda _: _attention(normed=False) | _feed_forward()),
    "qwen3": Architecture("qwen3", {}, lambda _: _attention() | _feed_forward()),
    "qwen3moe": Architecture(
        "qwen3moe",
        {
            "expert_count": EXPERTS,
            "expert_used_count": USED_EXPERTS,
            "expert_feed_forward_length": HIDDEN // 2,
        },
        lambda _: _attention() | _experts(),
    ),
    "gemma3": Architecture(
        "gemma3", {"sliding_window": WINDOW, "sliding_window_pattern": 2}, _gemma
    ),
    "qwen2vl": Architecture(
        "qwen2vl",
        {"rope_dimension_sections": [2, 3, 3, 0]},
        lambda _: _attention(normed=False) | _feed_forward(),
    ),
    "qwen35": Architecture(
        "qwen35",
        {
            "rope_dimension_sections": [3, 3, 2, 0],
            "full_attention_interval": 2,
            "ssm_conv_kernel": 4,
            "ssm_inner_size": DELTA_HEADS * STATE,
            "ssm_state_size": STATE,
            "ssm_group_count": GROUPS,
            "ssm_time_step_rank": DELTA_HEADS,
        },
        _qwen35,
        rolls_back=True,
    ),
    "lfm2": Architecture(
        "lfm2",
        {"head_count_kv": _EVERY_OTHER, "shortconv_l_cache": 3},
        _lfm2,
        rolls_back=True,
        output_norm="token_embd_norm",
    ),
    "mamba": Architecture(
        "mamba",
        _MAMBA | {"head_count": 0, "head_count_kv": 0, "feed_forward_length": 0},
        _mamba,
        rolls_back=False,
    ),
    "granitehybrid": Architecture(
        "granitehybrid",
        _MAMBA
        | {"ssm_group_count": 1, "head_count_kv": _EVERY_OTHER}
        | {"logit_scale": 1.0, "residual_scale": 1.0, "embedding_scale": 1.0}
        | {"attention_scale": HEAD**-0.5},
        _granite_hybrid,
        rolls_back=False,
    ),
}
"""What `write_architecture` can write."""


def write_architecture(path, kind, *, keys=None, **arguments):
    """Write a tiny model of an architecture; the same weights every time, for each seed.

    Args:
        kind: a key of ARCHITECTURES.
        keys: further keys, or other values of its keys, as for `write_model`.
        **arguments: `more`, `template`, `seed` and `kinds` of `write_model`.
    """
    about = ARCHITECTURES[kind]
    vocabulary = (len(TOKENS) + len(arguments.get("more", ())), WIDTH)
    shapes = {"token_embd.weight": vocabulary, "output.weight": vocabulary}
    shapes[f"{about.output_norm}.weight"] = (WIDTH,)
    for layer in range(LAYERS):
        shapes |= {f"blk.{layer}.{name}": shape for name, shape in about.layer(layer).items()}
    every = _COMMON | about.keys | (keys or {})
    write_model(path, about.name, every, shapes, name=f"tiny {kind}", **arguments)
