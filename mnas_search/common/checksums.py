"""Checksums inside the files that mnas-search writes, which find a flipped bit or an edit.

A JSON object has the member `"checksum": "crc32:1a2b3c4d"`: the CRC-32 of its other members as
canonical JSON (sorted keys, no spaces). An object without it, such as one that a user has written
or an earlier version, is taken as it is.
"""

import json
import re
import zlib
from collections.abc import Collection, Mapping
from typing import Any

CHECKSUM = "checksum"
_FORM = re.compile(r"crc32:[0-9a-f]{8}")


def crc32(content: bytes) -> str:
    """Return a checksum of bytes, as it is written: `crc32:` and eight hexadecimal digits."""
    return f"crc32:{zlib.crc32(content):08x}"


def checksum(value: Mapping[str, Any], *, without: Collection[str] = ()) -> str:
    """Return the checksum of a JSON object, without the members `without` and its checksum."""
    covered = {name: v for name, v in value.items() if name not in (*without, CHECKSUM)}
    return crc32(json.dumps(covered, sort_keys=True, separators=(",", ":")).encode())


def with_checksum(value: Mapping[str, Any], *, without: Collection[str] = ()) -> dict[str, Any]:
    """Return a JSON object with its checksum."""
    return {**value, CHECKSUM: checksum(value, without=without)}


def has_checksum(value: Mapping[str, Any]) -> bool:
    """Return whether a JSON object has a checksum of ours."""
    given = value.get(CHECKSUM)
    return isinstance(given, str) and _FORM.fullmatch(given) is not None


def checked(value: Any) -> Any:
    """Return a JSON value without its checksum, if it is an object that has one.

    Raises:
        ValueError: its content is not that of its checksum.
    """
    if not isinstance(value, dict) or not has_checksum(value):
        return value
    if (found := checksum(value)) != value[CHECKSUM]:
        raise ValueError(
            f"is damaged or was edited: its checksum must be {found}, got {value[CHECKSUM]} "
            f"(a file edited on purpose is read without its {CHECKSUM!r})"
        )
    return {name: member for name, member in value.items() if name != CHECKSUM}
