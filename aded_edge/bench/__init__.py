"""Benchmarks: figures that anyone can reproduce, each kept with the conditions it depends on.

Four benchmarks, one package each: `speed` (decoders side by side on a real model), `replay`
(drafting on recorded answers, without the model), `doctor` (what a model costs on this machine)
and `quarter` (a quarter of use). They share `dialogs` (prompt files), `sessions` (what a user says
day by day), `machine` (conditions of a figure), `results` (JSON files) and `oracle` (the least
possible time); `picture` draws the results of `speed`. No benchmark imports another one for a
helper.

Does not know options, tables or progress bars: those are in `cli`, and only `cli` imports this
room. What its packages offer is named in their own docstrings. Nothing is imported here, because
most modules load llama.cpp or Numba.
"""
