"""Decoding: what to evaluate (`budget`), what to keep (`accept`), and the step (`loop`)."""
