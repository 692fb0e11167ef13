"""mnas-search: neural architecture search that reproduces the discovery of EfficientNet-B0.

import mnas_search
result = mnas_search.nas.core("400M", trials=48)
print(result.architecture.block_string)
"""

# The function `search` shadows the module of the same name as an attribute of the package;
# importing the module first makes the order certain. `from mnas_search.nas.core import ...` works.
from mnas_search.architecture.cost.base import Cost
from mnas_search.architecture.cost.count import cost
from mnas_search.architecture.stage import Stage, Stem
from mnas_search.architecture.value import Architecture
from mnas_search.common.errors import MnasSearchError, UsageError, WorkFailed
from mnas_search.experiments.search.api import search
from mnas_search.nas import core as _core  # noqa: F401

__all__ = [
    "Architecture",
    "Cost",
    "MnasSearchError",
    "Stage",
    "Stem",
    "UsageError",
    "WorkFailed",
    "cost",
    "search",
]
