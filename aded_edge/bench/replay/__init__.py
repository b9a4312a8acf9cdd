"""Drafting on recorded answers: its quality and its worth in seconds, without the model.

`record.record` lets a model answer dialogs and returns a `trace.Trace`, and `transcript` makes one
of what another assistant answered. `run.Replay` runs a drafter and a budget over a trace, under one
of the costs in `curves`, and counts in `run.Tally`. `peers` has the drafters of other programs, and
`compare` runs all of them on all machines. Does not know options, nor how figures are printed.
"""
