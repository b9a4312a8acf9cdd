"""The doctor: what a model costs on this machine, what drafting can bring, and what would help.

`examine.examine` measures and returns `examine.Findings`; `advice.advice` names what would help,
and the other functions of `advice` compute widths, break-evens and upper bounds from the costs.
Does not know tables, nor where costs are stored.
"""
