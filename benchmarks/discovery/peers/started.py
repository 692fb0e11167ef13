"""A searcher that begins with another's first networks, to tell a start from a method."""

from typing import final

from mnas_search.benchmarks.discovery.problems import Row, Told
from mnas_search.benchmarks.discovery.searchers import Searcher

START = 4


@final
class Started(Searcher):
    """The first 4 networks are `start`'s; the searcher is told of them and proposes the rest."""

    def __init__(self, searcher: Searcher, start: Searcher) -> None:
        self._searcher, self._start = searcher, start
        self._told: set[Row] = set()

    def ask(self) -> Row:
        """Ask `start` for the first networks, then the searcher."""
        return (self._start if len(self._told) < START else self._searcher).ask()

    def tell(self, row: Row, told: Told) -> None:
        """Tell both during the start, then the searcher alone."""
        if len(self._told) < START:
            self._start.tell(row, told)
            self._told.add(row)
        self._searcher.tell(row, told)
