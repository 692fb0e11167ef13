"""Data sets as values, and their sources.

values         `Dataset` and `Split`
loading        the argument of `--data` -> `Dataset`
source         data that are found but not yet read; cifar, folder, huggingface and npz find them
layout         what the names of folders say: splits, classes, what is passed over
decode         image files -> uint8 arrays
preprocessing  how test images become the input of a network, as one value
splits         labelled images -> stratified splits
cache          decoded data sets on disk
presets        well-known data sets
"""

from mnas_search.data.digits import digits
from mnas_search.data.loading import load
from mnas_search.data.splits import assemble
from mnas_search.data.values import Dataset, Split

__all__ = ["Dataset", "Split", "assemble", "digits", "load"]
