"""`python -m aded_edge`: see `cli.py`."""

from .cli.main import main

if __name__ == "__main__":
    main()
