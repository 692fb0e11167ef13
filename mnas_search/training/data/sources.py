"""From what `--data` names to a `Dataset`."""

from mnas_search import plugins
from mnas_search.errors import UsageError
from mnas_search.training.data.values import Dataset

DEFAULT = "digits"


def load(data: str | None, *, side: int) -> Dataset:
    """The data set that `data` names: an entry point, or `file.py:Name`.

    Args:
        data: None for scikit-learn's digits.
        side: pixels that images of no fixed size are resized to.
    """
    del side  # nothing of no fixed size yet
    loaded = plugins.load("datasets", data or DEFAULT)
    dataset = loaded() if callable(loaded) else loaded
    if not isinstance(dataset, Dataset):
        raise UsageError(
            f"data {data!r} is {type(dataset).__name__}; allowed: a "
            "mnas_search.training.data.Dataset, or a function that gives one"
        )
    return dataset
