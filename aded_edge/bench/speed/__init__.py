"""Decoders side by side on a real model: how fast each answers the same dialogs.

`run.run` takes `decoders.RunSettings` and dialogs, and returns a result ready for JSON.
`run.DECODERS` lists the names of all decoders: `decoders.PLAIN`, which runs in a process of its own
(`plain` starts the script `baseline`), `decoders.LOCAL` and `server.SERVERS`. `run.taking_part`
says which of them answer a dialog. `summary.describe_conditions` puts the conditions of a result
into a sentence.
Does not know options, nor how figures are printed or drawn.
"""
