"""From what `--data` names to a `Dataset`."""

import logging
import os
from pathlib import Path

from mnas_search.common import plugins
from mnas_search.common.errors import UnknownName, UsageError, single_line
from mnas_search.data import cifar, folder, huggingface, npz
from mnas_search.data.cache import cached
from mnas_search.data.presets import PRESETS
from mnas_search.data.source import Source
from mnas_search.data.values import Dataset

DEFAULT = "digits"
_FORMS = (
    "a folder of images (one folder a class), a folder or archive of CIFAR's binary files, an "
    ".npz file, hf:NAME, or file.py:Name"
)
_LOG = logging.getLogger(__name__)


def load(data: str | None, *, side: int) -> Dataset:
    """The data set that `data` names; what is odd about it is logged, a warning a note.

    Args:
        data: an installed name (`mnas-search list datasets`), `file.py:Name`, `hf:NAME`, or the
            path of a folder of images, of CIFAR's binary files or of an .npz file. None for
            scikit-learn's digits.
        side: pixels a side. Images of no fixed size get it; those of a fixed size keep theirs
            where it is smaller, and square.

    Raises:
        UsageError: there is nothing that can be read.
    """
    data = DEFAULT if data is None else data
    if data.startswith(huggingface.PREFIX):
        dataset = cached(huggingface.find(data.removeprefix(huggingface.PREFIX)), side)
    elif _is_installed(data) or plugins.is_file_reference(data):
        dataset = _plugged_in(data)
    else:
        dataset = cached(_find(data), side)
    images = len(dataset.train.labels)
    _LOG.info("data %s: %d classes, %d training images", dataset.name, dataset.num_classes, images)
    for note in dataset.notes:
        _LOG.warning("%s", single_line(f"data {dataset.name}: {note}"))
    return dataset


def absolute(data: str) -> str:
    """The same data, wherever it is asked for from: paths from the root on."""
    if data.startswith(huggingface.PREFIX):
        path = data.removeprefix(huggingface.PREFIX)
        return f"{huggingface.PREFIX}{Path(path).resolve()}" if os.path.exists(path) else data
    if plugins.is_file_reference(data):
        return plugins.absolute(data)
    if _is_installed(data) or not os.path.exists(data):
        return data
    return str(Path(data).resolve())


def is_outside(data: str) -> bool:
    """Whether the data are neither installed nor of `file.py:Name`."""
    return not _is_installed(data) and not plugins.is_file_reference(data)


def _is_installed(data: str) -> bool:
    """An installed name means the same in every folder, whatever lies in there."""
    return any(data == plugin.name for plugin in plugins.installed("datasets"))


def _plugged_in(data: str) -> Dataset:
    loaded = plugins.load("datasets", data)
    dataset = loaded() if callable(loaded) else loaded
    if not isinstance(dataset, Dataset):
        raise UsageError(
            f"data {data!r} is {type(dataset).__name__}; allowed: a "
            "mnas_search.data.Dataset, or a function that gives one"
        )
    return dataset


def _find(data: str) -> Source:
    if not os.path.exists(data):
        raise _unknown(data)
    path = Path(data).resolve()
    if path.is_dir():
        return cifar.find(path) or folder.find(path)
    if path.suffix.lower() == ".npz":
        return npz.find(path)
    if path.name.lower().endswith(cifar.ARCHIVES):
        return cifar.find_archive(path)
    raise UsageError(f"data {data!r} is a file of another kind; allowed: {_FORMS}")


def _unknown(data: str) -> UnknownName:
    if (preset := PRESETS.get(data)) is not None:
        return UnknownName(
            f"data {data!r} is not embedded; get {preset.title} from {preset.source} and give "
            f"--data with its path (expected: {preset.layout})"
        )
    installed = ", ".join(plugin.name for plugin in plugins.installed("datasets"))
    return UnknownName(f"no data {data!r}; allowed: {installed}, {_FORMS}")
