"""`python -m aded_edge.chat`."""

from .command import main

if __name__ == "__main__":
    main()
