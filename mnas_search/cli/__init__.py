"""The command line: `main` is what `mnas-search` calls."""

from mnas_search.cli.app import main

__all__ = ["main"]
