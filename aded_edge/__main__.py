"""`python -m aded_edge`: see `cli/start.py`."""

from .cli.start import main

if __name__ == "__main__":
    main()
