"""Compound scaling: from one architecture to its family (arXiv 1905.11946, section 3).

    equations    equation 3, its rounding, and the published coefficients
    limits       the largest phi under constraints (equation 2)

Importing this package loads the equations only.
"""

from mnas_search.architecture.scaling.equations import (
    BASE_RESOLUTION,
    LARGER,
    LITE,
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
    "LITE",
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
