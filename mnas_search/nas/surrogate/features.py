"""Codes as points for regression.

A decision whose options are numbers or booleans becomes steps: feature j is whether the choice is
beyond the j-th smallest option, so that distances add up along the order and every step can count
differently. One whose options are texts becomes one indicator an option.

Shared features say what the stages have in common: of decisions that are called alike but for the
stage (`stage0.kernel`, `stage1.kernel`, ...), the sum of each feature over the stages. A model can
then learn early what, say, larger kernels are worth anywhere.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mnas_search.nas.space.choices import Codes, Decision


class Features:
    """Maps codes [N, D] of some decisions to points [N, F].

    Args:
        decisions: what the codes stand for.
        shared: whether to add the shared features, each divided by the root of its number of
            stages.
    """

    def __init__(self, decisions: Sequence[Decision], *, shared: bool = False) -> None:
        columns: dict[tuple[str, ...], int] = {}
        entries: list[tuple[int, tuple[str, ...], float]] = []
        starts = np.cumsum([0, *(len(decision.options) for decision in decisions)])
        names = Counter(_kind(decision) for decision in decisions) if shared else Counter()
        for start, decision in zip(starts, decisions, strict=False):
            for (option, label), value in np.ndenumerate(_table(decision)):
                own = (decision.name, _label(decision, label))
                entries.append((start + option, own, value))
                if (count := names[_kind(decision)]) > 1:
                    common = ("shared", _kind(decision), _label(decision, label))
                    entries.append((start + option, common, value / np.sqrt(count)))
        for _, key, _ in entries:
            columns.setdefault(key, len(columns))
        self.count = len(columns)
        # One table for all: row `starts[d] + code` holds what decision d adds to the features.
        self._rows = np.zeros((starts[-1], self.count))
        for row, key, value in entries:  # type: ignore[assignment]
            self._rows[row, columns[key]] = value
        self._starts = starts[:-1]

    def __call__(self, codes: Codes) -> NDArray[np.float64]:
        """Return points [N, F]."""
        points: NDArray[np.float64] = self._rows[np.asarray(codes) + self._starts].sum(axis=1)
        return points


def _kind(decision: Decision) -> str:
    """The decision's name without its stage."""
    return decision.name.rpartition(".")[2]


def _label(decision: Decision, column: int) -> str:
    """Which feature of its decision a column is."""
    if any(isinstance(option, str) for option in decision.options):
        return str(decision.options[column])
    return str(column)


def _table(decision: Decision) -> NDArray[np.float64]:
    """Features [options, F] of one decision."""
    options = decision.options
    if any(isinstance(option, str) for option in options):
        return np.eye(len(options)) if len(options) > 1 else np.zeros((1, 0))
    place = np.argsort(np.argsort(np.array(options, dtype=float), kind="stable"))
    return (place[:, None] > np.arange(len(options) - 1)).astype(float)
