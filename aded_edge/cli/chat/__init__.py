"""The chat in the terminal: `aded-edge chat [MODEL]`."""
