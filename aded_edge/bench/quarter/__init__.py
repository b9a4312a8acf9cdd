"""A month of use: does the assistant get faster on topics that its user comes back to?

`run.sessions` reads what a user says, from `month.jsonl` or another file; `run.run` holds the
sessions under `run.MonthSettings` and returns a result ready for JSON; `run.speedups` computes its
speedups, for the kinds of assistants `KEPT`, `COLD` and `PLAIN`.
Does not know options, nor how figures are printed or drawn.
"""
