"""The argument of `--data` -> `Dataset`."""

import contextlib
import logging
import os
import re
from pathlib import Path

from mnas_search.common import plugins
from mnas_search.common.errors import UnknownName, UsageError, error_context, single_line
from mnas_search.data import cifar, folder, huggingface, npz
from mnas_search.data.cache import cached
from mnas_search.data.presets import PRESETS
from mnas_search.data.source import Source
from mnas_search.data.splits import check_trained
from mnas_search.data.values import Dataset

DEFAULT = "digits"
_FORMS = (
    "a folder of images (one folder a class), a folder or archive of CIFAR's binary files, an "
    ".npz file, hf:NAME, or file.py:Name"
)
_MULTIPLE, _LARGEST = 32, 224  # pixels
_LOG = logging.getLogger(__name__)


def load(data: str | os.PathLike[str] | None, *, side: int) -> Dataset:
    """Load a data set, and log its notes as warnings.

        load("hf:cifar10", side=32)

    Args:
        data: an installed name (`mnas-search list datasets`), `file.py:Name`, `hf:NAME`, or the
            path of a folder of images, of CIFAR's binary files or of an .npz file. None for
            scikit-learn's digits.
        side: side of the images in pixels; smaller square images of a fixed size keep theirs.

    Raises:
        UsageError: the data do not exist or cannot be read.
    """
    data = DEFAULT if data is None else os.fspath(data)
    source = _source(data)
    dataset = _plugged_in(data) if source is None else cached(source, side)
    images = len(dataset.train.labels)
    _LOG.info("data %s: %d classes, %d training images", dataset.name, dataset.num_classes, images)
    for note in dataset.notes:
        _LOG.warning("%s", single_line(f"data {dataset.name}: {note}"))
    return dataset


def own_resolution(data: str | os.PathLike[str] | None) -> int | None:
    """Return the resolution at which networks for these data are deployed by default: the median
    shorter side of the images, rounded to a multiple of 32 and within 32 and 224 pixels.

    None for the embedded digits, a demonstration.
    """
    data = None if data is None else os.fspath(data)
    if data is None or is_embedded(data):
        return None
    source = _source(data)
    if source is None:
        side = min(_plugged_in(data).train.images.shape[1:3])
    else:
        side = source.shorter_side()
    rounded = _MULTIPLE * int(side / _MULTIPLE + 0.5)
    return min(max(rounded, _MULTIPLE), _LARGEST)


def absolute(data: str) -> str:
    """Make paths absolute; other names stay unchanged."""
    if data.startswith(huggingface.PREFIX):
        path = data.removeprefix(huggingface.PREFIX)
        return f"{huggingface.PREFIX}{Path(path).resolve()}" if os.path.exists(path) else data
    if plugins.has_content(data):
        return plugins.absolute(data)
    if _is_installed(data) or not os.path.exists(data):
        return data
    return str(Path(data).resolve())


def stem(data: str) -> str:
    """Return a name for new folders: that of the data's own folder, file, class or data set."""
    if plugins.is_file_reference(data):
        name = data.rpartition(":")[2]
    else:
        path = Path(data)
        name = path.stem if path.is_file() else path.name
    return re.sub(r"[^\w.-]+", "-", name)[:100].strip("-") or "data"


def is_embedded(data: str | None) -> bool:
    """Tell whether the data are the embedded digits, a demonstration."""
    return data in (None, DEFAULT)


def is_outside(data: str) -> bool:
    """Tell whether the data are neither an installed name nor a plug-in of the user's."""
    return not _is_installed(data) and not plugins.has_content(data)


def _is_installed(data: str) -> bool:
    """Tell whether `data` is an installed name, which takes precedence over a path."""
    return any(data == plugin.name for plugin in plugins.installed("datasets"))


def _plugged_in(data: str) -> Dataset:
    loaded = plugins.load("datasets", data)
    # The function may change the working directory for itself.
    with error_context(f"data {data!r}"), contextlib.chdir("."):
        dataset = loaded() if callable(loaded) else loaded
    if not isinstance(dataset, Dataset):
        raise UsageError(
            f"data {data!r} must be a mnas_search.Dataset or a function that returns one, got "
            f"{type(dataset).__name__}"
        )
    check_trained(dataset)
    return dataset


def _source(data: str) -> Source | None:
    """Find the data; None for an installed name and `file.py:Name`, which give a `Dataset`."""
    if data.startswith(huggingface.PREFIX):
        return huggingface.find(data.removeprefix(huggingface.PREFIX))
    if _is_installed(data) or plugins.has_content(data):
        return None
    return _find(data)


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
    raise UsageError(f"data must be {_FORMS}, got {data!r}")


def _unknown(data: str) -> UnknownName:
    if (preset := PRESETS.get(data)) is not None:
        return UnknownName(
            f"data {data!r} is not included: download {preset.title} from {preset.source} and "
            f"pass its path to --data (expected: {preset.layout})"
        )
    installed = ", ".join(plugin.name for plugin in plugins.installed("datasets"))
    return UnknownName(f"data must be {installed}, {_FORMS}, got {data!r}")
