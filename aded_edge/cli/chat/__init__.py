"""The chat in the terminal: `aded-edge chat [MODEL]`.

`command.py` has the options, `repl.py` reads messages and answers them, `commands.py` has the
/commands, `line.py` what the user types and `output.py` how an answer is printed. All of it is
built on `Assistant`: what the chat can do, a program can do too.
"""
