"""GGUF files with random weights, for tests in which only the machinery counts.

`write_tiny` writes a small Llama, `write_model` a model of any architecture from its keys and the
shapes of its tensors; `architectures.py` knows several. Does not know llama.cpp.
"""

import gguf
import numpy as np

HEADS = 4
SPREAD = 3
"""Factor of the attention's weights, without which a token would hardly depend on the history."""

SPECIAL = {"<unk>": gguf.TokenType.UNKNOWN, "<s>": gguf.TokenType.CONTROL}
SPECIAL |= {"</s>": gguf.TokenType.CONTROL}
TOKENS = [*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256))]
"""The vocabulary: token 3 + b is the byte b."""


def write_tiny(path, width=64, layers=2, context=2048, more=(), template=None, seed=0, name="tiny"):
    """Write a Llama whose tokens are bytes; the same weights every time, for each seed.

    Args:
        more: (text, type, score) of further tokens.
        template: its chat template.
        name: its name in the metadata.
    """
    keys = {
        "context_length": context,
        "embedding_length": width,
        "block_count": layers,
        "feed_forward_length": 2 * width,
        "head_count": HEADS,
        "layer_norm_rms_eps": 1e-5,
        "rope_dimension_count": width // HEADS,
    }
    shapes = _shapes(width, layers, len(TOKENS) + len(more))
    write_model(path, "llama", keys, shapes, more=more, template=template, seed=seed, name=name)


def write_model(
    path, architecture, keys, shapes, *, more=(), template=None, seed=0, name="tiny", kinds=None
):
    """Write a model whose tokens are bytes; the same weights every time, for each seed.

    Args:
        architecture: `general.architecture`.
        keys: the architecture's other keys: name of an `add_...` method of gguf.GGUFWriter
            without its `add_` -> value.
        shapes: name of a tensor, with its `.weight` or `.bias` if it has one -> shape as NumPy
            orders it (the reverse of llama.cpp's).
        more: (text, type, score) of further tokens; `shapes` has to count them.
        template: its chat template.
        name: its name in the metadata.
        kinds: type of a tensor by its name, for those that are not float32.
    """
    tokens = [*TOKENS, *(text for text, _, _ in more)]
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name(name)
    for key, value in keys.items():
        getattr(writer, f"add_{key}")(value)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * len(TOKENS) + [score for _, _, score in more])
    types = [SPECIAL.get(token, gguf.TokenType.BYTE) for token in TOKENS]
    writer.add_token_types([*types, *(kind for _, kind, _ in more)])
    if template is not None:
        writer.add_chat_template(template)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    rng = np.random.default_rng(seed)
    for tensor, shape in shapes.items():
        weights = _weights(rng, tensor, shape)
        kind = (kinds or {}).get(tensor)
        if kind is not None:
            weights = gguf.quants.quantize(weights, kind)
        writer.add_tensor(tensor, weights, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _shapes(width, layers, tokens):
    """Shape of each tensor, by its name."""
    vocabulary = (tokens, width)
    shapes = {"token_embd": vocabulary, "output": vocabulary, "output_norm": (width,)}
    for layer in range(layers):
        block = f"blk.{layer}."
        shapes |= {block + name: (width,) for name in ("attn_norm", "ffn_norm")}
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            shapes[block + name] = (width, width)
        shapes |= {block + name: (2 * width, width) for name in ("ffn_gate", "ffn_up")}
        shapes[block + "ffn_down"] = (width, 2 * width)
    return {f"{name}.weight": shape for name, shape in shapes.items()}


def _weights(rng, name, shape):
    """Ones for a norm; else random numbers whose size keeps that of the activations."""
    if "attn_q_norm" in name or "attn_k_norm" in name:  # these undo the spread of the attention
        return np.full(shape, SPREAD, np.float32)
    if "norm" in name or name.endswith("ssm_d"):
        return np.ones(shape, np.float32)
    if name.endswith("ssm_a"):  # how fast a recurrent state decays; llama.cpp wants it negative
        return -rng.uniform(0.5, 2.0, shape).astype(np.float32)
    if name.endswith("ssm_dt.bias"):
        return rng.uniform(-3.0, 0.0, shape).astype(np.float32)
    weights = rng.standard_normal(shape, np.float32)
    weights *= 0.1 if name.endswith(".bias") else 1 / np.sqrt(shape[-1])
    weights *= SPREAD if "attn" in name else 1
    return weights.astype(np.float32)
