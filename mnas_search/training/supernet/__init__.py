"""One set of weights for a whole space, trained once, with which its networks are ranked.

recipe       how a supernet is made, trained and read
making       a supernet of a space, and its images
paths        the networks of the steps
training     the steps, with checkpoints
reading      networks' cross-entropy with the weights
inheritance  a network that starts from its slice
"""

from mnas_search.training.supernet.inheritance import inherit
from mnas_search.training.supernet.making import (
    make_supernet,
    reading_images,
    statistics_images,
    trained_images,
)
from mnas_search.training.supernet.reading import Reading, read_supernet
from mnas_search.training.supernet.recipe import SupernetRecipe, supernet_recipe
from mnas_search.training.supernet.training import (
    SupernetTraining,
    train_supernet,
    training_key,
    training_steps,
)

__all__ = [
    "Reading",
    "SupernetRecipe",
    "SupernetTraining",
    "inherit",
    "make_supernet",
    "read_supernet",
    "reading_images",
    "statistics_images",
    "supernet_recipe",
    "train_supernet",
    "trained_images",
    "training_key",
    "training_steps",
]
