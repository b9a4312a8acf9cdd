"""Reads the coming uniform numbers of a sampler chain from a clone of its last sampler."""
import ctypes
import time

import llama_cpp as L
import numpy as np
from llama_cpp._internals import LlamaSampler

N = 1024


def peek(chain, n):
    last = L.llama_sampler_chain_get(chain, L.llama_sampler_chain_n(chain) - 1)
    if L.llama_sampler_name(last).lstrip(b"+-?") != b"dist":
        return None
    clone = L.llama_sampler_clone(last)
    data = (L.llama_token_data * N)(*[L.llama_token_data(i, 0.0, 0.0) for i in range(N)])
    array = L.llama_token_data_array(data, N, -1, True)
    out = np.empty(n)
    for i in range(n):
        L.llama_sampler_apply(clone, ctypes.byref(array))
        out[i] = (array.selected + 0.5) / N
    L.llama_sampler_free(clone)
    return out


def chain(seed, mirostat=False):
    s = LlamaSampler()
    s.add_top_k(40), s.add_top_p(0.95, 1), s.add_temp(0.8)
    s.add_mirostat_v2(seed, 5.0, 0.1) if mirostat else s.add_dist(seed)
    return s


s = chain(7)
told = peek(s.sampler, 300)
r = np.random.RandomState(7)
x = np.asarray([r.randint(0, 2**32, dtype=np.uint64) for _ in range(600)])
u = (x[0::2] + x[1::2] * 2.0**32) / 2.0**64
print("largest difference to mt19937 of numpy:", np.abs(told - u).max())
one = (L.llama_token_data * 1)(L.llama_token_data(0, 0.0, 0.0))
for i in range(10):
    L.llama_sampler_apply(s.sampler, ctypes.byref(L.llama_token_data_array(one, 1, -1, True)))
print("in step after ten draws with one candidate left:", np.abs(peek(s.sampler, 200) - u[10:210]).max())
print("again the same (the original is untouched):", np.abs(peek(s.sampler, 200) - u[10:210]).max())
print("mirostat:", peek(chain(7, True).sampler, 3))
t = time.perf_counter(); peek(s.sampler, 64); print("64 numbers: %.0f us" % (1e6 * (time.perf_counter() - t)))
