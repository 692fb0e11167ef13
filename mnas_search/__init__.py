"""mnas-search: neural architecture search that reproduces the discovery of EfficientNet-B0.

import mnas_search
result = mnas_search.search("400M", trials=48)
print(result.architecture.block_string)
"""

# The function `search` shadows the module of the same name as an attribute of the package;
# importing the module first makes the order certain. `from mnas_search.search import ...` works.
from mnas_search import search as _core  # noqa: F401
from mnas_search.api import search
from mnas_search.architecture import Architecture, Stage, Stem
from mnas_search.cost import Cost, cost
from mnas_search.errors import MnasSearchError, UsageError, WorkFailed

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
