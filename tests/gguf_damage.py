"""The header of a GGUF file as Python values, to be changed at will and written again.

Knows GGUF's layout, and checks nothing. Does not know which changes do harm.
"""

import struct
from dataclasses import dataclass, field

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)

_PLAIN = dict(
    zip((U8, I8, U16, I16, U32, I32, F32, BOOL, U64, I64, F64), "BbHhIif?Qqd", strict=True)
)


def string(text):
    raw = text if isinstance(text, bytes) else text.encode()
    return struct.pack("<Q", len(raw)) + raw


def value(kind, content):
    """The bytes of a value behind its type."""
    if kind == STRING:
        return string(content)
    if kind == ARRAY:
        inner, items = content
        return struct.pack("<IQ", inner, len(items)) + b"".join(value(inner, i) for i in items)
    return struct.pack("<" + _PLAIN[kind], content)


@dataclass
class Tensor:
    name: str
    shape: list[int]
    kind: int
    offset: int


@dataclass
class Header:
    """What a GGUF file begins with.

    Attributes:
        values: key -> (type, its bytes).
        tensors: their names, shapes, types and places.
        counts: (tensors, values) to be written in the place of the true ones.
    """

    version: int = 3
    values: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    tensors: list[Tensor] = field(default_factory=list)
    counts: tuple[int, int] | None = None
    alignment: int = 32

    def set(self, key, kind, content):
        """Set a value. A key may stand for itself or for what follows the architecture."""
        self.values[self.key(key)] = (kind, value(kind, content))

    def key(self, name):
        long = f"llama.{name}"
        return long if long in self.values else name

    def write(self):
        """The header, with the padding up to the weights."""
        counts = self.counts or (len(self.tensors), len(self.values))
        parts = [b"GGUF", struct.pack("<IQQ", self.version, *counts)]
        for key, (kind, raw) in self.values.items():
            parts += [string(key), struct.pack("<I", kind), raw]
        for tensor in self.tensors:
            shape = tensor.shape
            parts += [string(tensor.name), struct.pack(f"<I{len(shape)}Q", len(shape), *shape)]
            parts.append(struct.pack("<IQ", tensor.kind, tensor.offset))
        raw = b"".join(parts)
        return raw + b"\0" * (-len(raw) % self.alignment)


def read(data):
    """Return (header, number of its bytes with the padding) of a sound file."""
    at = 4

    def take(form):
        nonlocal at
        found = struct.unpack_from("<" + form, data, at)
        at += struct.calcsize("<" + form)
        return found[0] if len(found) == 1 else found

    def text():
        nonlocal at
        length = take("Q")
        at += length
        return bytes(data[at - length : at]).decode()

    def skip(kind):
        nonlocal at
        if kind == STRING:
            text()
        elif kind == ARRAY:
            inner, count = take("IQ")
            for _ in range(count):
                skip(inner)
        else:
            at += struct.calcsize("<" + _PLAIN[kind])

    header = Header(version=take("I"))
    tensors, values = take("QQ")
    for _ in range(values):
        key, kind = text(), take("I")
        begin = at
        skip(kind)
        header.values[key] = (kind, bytes(data[begin:at]))
    for _ in range(tensors):
        name, dims = text(), take("I")
        shape = [take("Q") for _ in range(dims)]
        header.tensors.append(Tensor(name, shape, *take("IQ")))
    return header, at + -at % header.alignment
