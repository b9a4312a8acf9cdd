"""How does one step of decoding go? Draft, budget, evaluate, accept, commit, learn.

Knows trees, logits and costs, and reaches the drafter, the budget and the target by protocols. Does
not know llama.cpp, text, files, or how a token is chosen.

Other rooms use these names. They are not imported here, because rooms that only show `stats` need
no kernels.

- `loop`: `Loop` runs the steps; the protocol `Target`; `Choose`, `Stop`, `learn_together`
- `budget`: where a draft is cut: `CostBudget`, `FixedBudget`, the protocol `Budget`
- `cost_curve`: seconds of a step by width: `CostCurve`, and the widths: `WIDTHS`
- `measuring`: how they are measured: `measure_first`, `measure`, `measure_changes`,
  `measure_trees`, and the widths that come first: `FIRST`, `THEN`
- `candidates`: the target's likeliest tokens: `top_candidates`, `CANDIDATES`
- `stats`: figures of a generation: `Stats`, `Meter`

`accept` (the walk through the tree) is used by the loop only.
"""
