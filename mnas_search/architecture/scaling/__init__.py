"""Compound scaling: an architecture's family, and what the coefficients should be.

    equations    equation 3, its rounding, and the published table
    limits       the largest phi under constraints (equation 2)
    grid         the search for alpha, beta, gamma at phi = 1
    comparison   one dimension against all three at equal FLOPs
    written      scaled networks as files
    measured     accuracies of scaled networks, journalled in a folder

Importing this package loads the equations alone.
"""

from mnas_search.architecture.scaling.equations import (
    BASE_RESOLUTION,
    LARGER,
    PUBLISHED,
    Coefficients,
    CompoundRule,
    Rounding,
    compound,
    published_family,
    published_member,
    scale,
    widest,
)

__all__ = [
    "BASE_RESOLUTION",
    "LARGER",
    "PUBLISHED",
    "Coefficients",
    "CompoundRule",
    "Rounding",
    "compound",
    "published_family",
    "published_member",
    "scale",
    "widest",
]
