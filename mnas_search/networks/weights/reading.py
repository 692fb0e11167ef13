"""Safe reading of torch files."""

import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

from mnas_search.common.files import check_ordinary

BEST = "checkpoint-best.pt"


def load(path: Path) -> Any:
    """Load tensors and plain values from a torch file, without executing anything in it.

    Raises:
        OSError: it cannot be read, or is not an ordinary file.
        ValueError: parts are compressed, which torch never does: a small file could fill memory.
        UnpicklingError: it contains other objects.
        Exception: torch may raise others on malformed files.
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
        warnings.simplefilter("ignore")  # torch warns of files that it then rejects
        return torch.load(path, map_location="cpu", weights_only=True)
