"""Codes as points for regression.

A decision whose options are numbers or booleans becomes steps: feature j is whether the choice is
beyond the j-th smallest option, so that distances add up along the order and every step can count
differently. One whose options are texts becomes one indicator an option.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mnas_search.choices import Codes, Decision


class Features:
    """Maps codes [N, D] of some decisions to points [N, F] of zeros and ones."""

    def __init__(self, decisions: Sequence[Decision]) -> None:
        tables = [_table(decision) for decision in decisions]
        self.count = sum(table.shape[1] for table in tables)
        starts = np.cumsum([0, *(len(table) for table in tables)])
        # One table for all: row `starts[d] + code` holds decision d's features, zeros elsewhere.
        self._rows = np.zeros((starts[-1], self.count))
        column = 0
        for start, table in zip(starts, tables, strict=False):
            self._rows[start : start + len(table), column : column + table.shape[1]] = table
            column += table.shape[1]
        self._starts = starts[:-1]

    def __call__(self, codes: Codes) -> NDArray[np.float64]:
        """Points [N, F]."""
        points: NDArray[np.float64] = self._rows[np.asarray(codes) + self._starts].sum(axis=1)
        return points


def _table(decision: Decision) -> NDArray[np.float64]:
    """Features [options, F] of one decision."""
    options = decision.options
    if any(isinstance(option, str) for option in options):
        return np.eye(len(options)) if len(options) > 1 else np.zeros((1, 0))
    place = np.argsort(np.argsort(np.array(options, dtype=float), kind="stable"))
    return (place[:, None] > np.arange(len(options) - 1)).astype(float)
