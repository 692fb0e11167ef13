"""One set of weights for all networks of a space.

shapes      the largest shape of every parameter
supernet    the weights, and the networks that run on slices of them
"""

from mnas_search.networks.supernet.supernet import Supernet

__all__ = ["Supernet"]
