"""Files that are there whole or not at all."""

import os
from pathlib import Path

from mnas_search.errors import WorkFailed


def write_atomically(path: Path, content: str | bytes) -> Path:
    """Replace the file in one step: whoever reads it sees the old content or the new, whole."""
    temporary = path.with_name(f".{path.name}.tmp")
    if isinstance(content, str):
        content = content.encode("utf-8", errors="backslashreplace")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(content)
            os.replace(temporary, path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise WorkFailed(f"cannot write {path}: {error.strerror}") from error
    return path
