"""The command line: one file a command, with its options and its body together.

Knows options, tables, progress bars and questions. Does not know how anything is computed: the
rooms below do. Nobody imports this room but `__main__` and `chat`; its entry is `main.main`.
"""
