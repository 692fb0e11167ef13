"""Read weights from a file or from the folder of a training."""

import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

from mnas_search.common.files import check_ordinary

BEST = "checkpoint-best.pt"


def load(path: Path) -> Any:
    """What a torch file holds: tensors and plain values; nothing in it is executed.

    Raises:
        OSError: it cannot be read, or is no ordinary file.
        ValueError: parts of it are compressed, as torch leaves none: small files of that kind can
            fill any memory.
        UnpicklingError: there is more in it.
        Exception: whatever else torch raises on a file that it did not write.
    """
    check_ordinary(path)
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
        if any(part.compress_type != zipfile.ZIP_STORED for part in parts) or (
            sum(part.file_size for part in parts) > path.stat().st_size
        ):
            raise ValueError("a compressed archive")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, of files that it then refuses
        return torch.load(path, map_location="cpu", weights_only=True)
