"""`python -m mnas_search`."""

from mnas_search.cli import main

main()
