"""What may come next: token ids in, draft tree out. Numba inside; no llama.cpp and no SQL."""
