"""Changes of a sound GGUF header that no file should have, by what they do.

Knows the keys of a Llama. Does not know how a model is loaded.
"""

from tests.gguf_damage import ARRAY, BOOL, F32, I32, STRING, U8, U16, U32, U64, Header
from tests.gguf_files import TOKENS

HUGE = 1 << 62
NAN = float("nan")


def _set(key, kind, content):
    return lambda header: header.set(key, kind, content)


def _remove(*keys):
    def change(header):
        for key in keys:
            del header.values[header.key(key)]

    return change


def _tensor(**changes):
    def change(header):
        vars(header.tensors[1]).update(changes)

    return change


def _raw(key, kind, raw):
    def change(header):
        header.values[header.key(key)] = (kind, raw)

    return change


def _counts(tensors, values):
    def change(header):
        header.counts = (tensors, values)

    return change


def _shape(where, size):
    def change(header):
        header.tensors[1].shape[where] = size

    return change


def _no_tensors(header):
    header.tensors.clear()


def _twice(header):
    header.tensors.append(header.tensors[1])


def _version(number):
    def change(header):
        header.version = number

    return change


def _long_vocabulary(header):
    header.set("tokenizer.ggml.tokens", ARRAY, (STRING, [f"<{n}>" for n in range(100_000)]))


def _end_of_no_letters(header):
    tokens = [token.encode() for token in TOKENS]
    tokens[2] = b"\xff\xfe"
    header.set("tokenizer.ggml.tokens", ARRAY, (STRING, tokens))


def _other_architecture(name):
    """The same numbers under another architecture's names."""

    def change(header):
        header.values = {
            key.replace("llama.", f"{name}.", 1): kept for key, kept in header.values.items()
        }
        header.set("general.architecture", STRING, name)

    return change


_LONG = (1 << 40).to_bytes(8, "little")

REFUSED = {
    "no values": _counts(12, 0),
    "absurd values": _counts(12, HUGE),
    "absurd tensors": _counts(HUGE, 20),
    "negative counts": _counts((1 << 64) - 1, (1 << 64) - 1),
    "version 0": _version(0),
    "version 9": _version(9),
    "other byte order": _version(3 << 24),
    "string without end": _raw("general.name", STRING, _LONG + b"x"),
    "array without end": _raw("tokenizer.ggml.scores", ARRAY, b"\6\0\0\0" + _LONG),
    "array of arrays": _raw("tokenizer.ggml.scores", ARRAY, b"\x09\0\0\0" + bytes(8)),
    "type of no value": _raw("general.name", 99, b""),
    "no architecture": _remove("general.architecture"),
    "unknown architecture": _set("general.architecture", STRING, "fantasy"),
    "architecture of no letters": _set("general.architecture", STRING, b"\xff\xfe"),
    "architecture is a number": _set("general.architecture", U32, 7),
    "alignment 0": _set("general.alignment", U32, 0),
    "alignment 7": _set("general.alignment", U32, 7),
    "tensor far away": _tensor(offset=HUGE),
    "tensor not aligned": _tensor(offset=1),
    "tensor of unknown type": _tensor(kind=250),
    "tensor of another type": _tensor(kind=1),
    "tensor without a name": _tensor(name=""),
    "tensor with a long name": _tensor(name="x" * 200),
    "tensor twice": _twice,
    "tensor with a long row": _shape(0, HUGE),
    "tensor with an empty row": _shape(0, 0),
    "tensor of other shape": _shape(0, 32),
    "tensor of five dimensions": _tensor(shape=[2] * 5),
    "no tensors": _no_tensors,
    "no embedding length": _remove("embedding_length"),
    "no tokenizer": _remove("tokenizer.ggml.model"),
    "tokenizer of unknown kind": _set("tokenizer.ggml.model", STRING, "fantasy"),
    "no tokens": _remove("tokenizer.ggml.tokens"),
    "empty tokens": _set("tokenizer.ggml.tokens", ARRAY, (STRING, [])),
    "tokens are numbers": _set("tokenizer.ggml.tokens", ARRAY, (U32, [1, 2, 3])),
    "fewer tokens than embeddings": _set("tokenizer.ggml.tokens", ARRAY, (STRING, ["a", "b"])),
    "more tokens than embeddings": _long_vocabulary,
    "fewer scores than tokens": _set("tokenizer.ggml.scores", ARRAY, (F32, [0.0])),
    "scores are strings": _set("tokenizer.ggml.scores", ARRAY, (STRING, ["a"])),
    "layers 0": _set("block_count", U32, 0),
    "layers 4 billion": _set("block_count", U32, 0xFFFFFFFF),
    "layers more than there are": _set("block_count", U32, 3),
    "layers is a string": _set("block_count", STRING, "two"),
    "heads 0": _set("attention.head_count", U32, 0),
    "heads 5": _set("attention.head_count", U32, 5),
    "heads 4 billion": _set("attention.head_count", U32, 0xFFFFFFFF),
    "heads is a string": _set("attention.head_count", STRING, "four"),
    "heads is a bool": _set("attention.head_count", BOOL, True),
    "heads of too many layers": _set("attention.head_count", ARRAY, (U32, [4] * 600)),
    "key heads 3": _set("llama.attention.head_count_kv", U32, 3),
    "key heads 4 billion": _set("llama.attention.head_count_kv", U32, 0xFFFFFFFF),
    "key length 0": _set("llama.attention.key_length", U32, 0),
    "key length 4 billion": _set("llama.attention.key_length", U32, 0xFFFFFFFF),
    "width 0": _set("embedding_length", U32, 0),
    "width 4 billion": _set("embedding_length", U32, 0xFFFFFFFF),
    "width is a float": _set("embedding_length", F32, 64.0),
    "width is small": _set("embedding_length", U8, 64),
    "inner width 0": _set("feed_forward_length", U32, 0),
    "experts 4 billion": _set("llama.expert_count", U32, 0xFFFFFFFF),
    "experts without use": _set("llama.expert_count", U32, 4),
    "context is a string": _set("context_length", STRING, "2048"),
    "context 10^12": _set("context_length", U64, 10**12),
    "epsilon nan": _set("attention.layer_norm_rms_epsilon", F32, NAN),
    "epsilon is a string": _set("attention.layer_norm_rms_epsilon", STRING, "small"),
    "rope of no dimensions": _set("rope.dimension_count", U32, 0),
    "rope of 7 dimensions": _set("rope.dimension_count", U32, 7),
    "rope wider than a head": _set("rope.dimension_count", U32, 4096),
    "rope base nan": _set("llama.rope.freq_base", F32, NAN),
    "rope scaling unknown": _set("llama.rope.scaling.type", STRING, "fantasy"),
    "a recurrent model": _other_architecture("mamba"),
    "a model of experts": _other_architecture("qwen3moe"),
    "an embedding model": _other_architecture("bert"),
    "an encoder-decoder": _other_architecture("t5"),
    "a picture encoder": _set("general.architecture", STRING, "clip"),
    "a part of three": _set("split.count", U16, 3),
    "a template without end": _set(
        "tokenizer.chat_template",
        STRING,
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    ),
    "a template of gigabytes": _set("tokenizer.chat_template", STRING, "{{ 'x' * 9999999999 }}"),
    "a template that cannot be read": _set("tokenizer.chat_template", STRING, "{% for %}"),
    "an end of no letters": _end_of_no_letters,
}
"""What it is -> the change. Such a file ends in a ModelError."""

ALLOWED = {
    "context 0": _set("context_length", U32, 0),
    "context 4 billion": _set("context_length", U32, 0xFFFFFFFF),
    "epsilon 0": _set("attention.layer_norm_rms_epsilon", F32, 0.0),
    "epsilon negative": _set("attention.layer_norm_rms_epsilon", F32, -1.0),
    "rope base 0": _set("llama.rope.freq_base", F32, 0.0),
    "rope base negative": _set("llama.rope.freq_base", F32, -10000.0),
    "rope scale negative": _set("llama.rope.scaling.factor", F32, -1.0),
    "beginning far away": _set("tokenizer.ggml.bos_token_id", U32, 0xFFFFFFF0),
    "end far away": _set("tokenizer.ggml.eos_token_id", U32, 10**6),
    "template is a number": _set("tokenizer.chat_template", U32, 7),
    "template is a list": _set("tokenizer.chat_template", ARRAY, (I32, [1, 2])),
    "a template that refuses": _set(
        "tokenizer.chat_template", STRING, "{{ raise_exception('x') }}"
    ),
    "text that is no text": _set("general.name", STRING, b"\xff\xfe\xfd"),
    "name of a megabyte": _set("general.name", STRING, "x" * (1 << 20)),
}
"""Changes with which a file may be loaded or refused. It answers, or ends in one of our errors."""


def damaged(header: Header, weights: bytes, change):
    """The bytes of a file with a changed header."""
    change(header)
    return header.write() + weights
