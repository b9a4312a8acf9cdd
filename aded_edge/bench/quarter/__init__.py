"""A quarter of use: what does a kept store save a user, week by week?

`run.run` holds the sessions of `quarter.jsonl` (`bench/sessions.py` describes the file) with the
store of this user (`run.KEPT`), with none (`run.EMPTY`) and with that of another user, who held
those of `other.jsonl` (`run.OTHER`). `figures` sums its rows up by week, by task and for the last
month. The files are written by scripts/compose_quarter.py.
Does not know options, nor how figures are printed or drawn.
"""
