"""`python -m aded_edge.chat`: the same as `python -m aded_edge chat`."""

from __future__ import annotations

from aded_edge.cli.start import main_chat as main

__all__ = ["main"]

if __name__ == "__main__":
    main()
