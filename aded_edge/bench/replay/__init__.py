"""Drafting on recorded answers: its quality and its worth in seconds, without the model.

`record.record` lets a model answer dialogs and returns a `trace.Trace`; `run.Replay` runs a drafter
and a budget over a trace, under costs that `run.load_costs` reads, and counts in `run.Tally`.
Does not know options, nor how figures are printed.
"""
