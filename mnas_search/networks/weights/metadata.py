"""The metadata of safetensors files, among them a checksum of the whole file.

`checksum` is the CRC-32 of the file's bytes with zeros in the place of its own eight digits. Files
of other programs, and of earlier versions, have none and are taken as they are.
"""

import re
from pathlib import Path

from mnas_search.common.checksums import CHECKSUM, crc32
from mnas_search.common.errors import DamagedFile, UsageError, single_line

_PREFIX = 8  # bytes that hold the length of the header
_ZEROS = b"crc32:00000000"
_OWN = re.compile(rb'("%s":")(crc32:[0-9a-f]{8})(")' % CHECKSUM.encode())
NO_CHECKSUM = {CHECKSUM: _ZEROS.decode()}  # the metadata that `with_checksum` fills in


def with_checksum(content: bytes) -> bytes:
    """Return a safetensors file whose metadata hold `NO_CHECKSUM`, with its checksum there."""
    return _replaced(content, crc32(content).encode())


def read(path: Path) -> dict[str, str]:
    """Read the metadata of a safetensors file; none for a file that is not there.

    Raises:
        UsageError: it cannot be read.
        DamagedFile: it is not that of its checksum.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "np") as file:
            found = dict(file.metadata() or {})
    except FileNotFoundError:
        return {}
    except (OSError, SafetensorError) as error:
        reason = single_line(str(error))[:200]
        raise UsageError(f"cannot read {str(path)!r}: {reason}") from None
    given = found.pop(CHECKSUM, None)
    content = path.read_bytes() if given is not None else b""
    if given is not None and _OWN.search(_header(content)) is not None:
        own = crc32(_replaced(content, _ZEROS))
        if own != given:
            raise DamagedFile(f"{str(path)!r} is damaged: its checksum must be {own}, got {given}")
    return found


def _header(content: bytes) -> bytes:
    return content[: _PREFIX + int.from_bytes(content[:_PREFIX], "little")]


def _replaced(content: bytes, checksum: bytes) -> bytes:
    header = _header(content)
    return _OWN.sub(rb"\g<1>%s\g<3>" % checksum, header, count=1) + content[len(header) :]
