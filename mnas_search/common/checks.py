"""Checks of single values, with messages of the form "X must be Y, got Z"."""

import difflib
import math
import os
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any

from mnas_search.common.errors import UsageError, shorten

_MAX_SHOWN = 60  # characters of a value in a message


def shown(value: object) -> str:
    """Return the ASCII repr of a value, cut to the length that a message has room for; its type
    where the user's code cannot tell."""
    try:
        text = ascii(value)
    except Exception:
        text = f"an object of type {type(value).__name__}"
    return shorten(text, _MAX_SHOWN)


def plain(value: Any) -> Any:
    """Return numpy's numbers as Python's, which JSON can hold, and paths as text; any other value
    as it is."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Integral):
        return value if isinstance(value, int) else int(value)
    return float(value) if isinstance(value, Real) else value


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return " (did you mean X?)" with the nearest of the known names; empty if none is near."""
    near = difflib.get_close_matches(name, tuple(known), n=1)
    return f" (did you mean {near[0]}?)" if near else ""


def alternatives(options: Iterable[object]) -> str:
    """Return "a, b or c"."""
    *first, last = map(str, options)
    return f"{', '.join(first)} or {last}" if first else last


def check_integer(
    name: str,
    value: object,
    low: int,
    high: int | None = None,
    *,
    odd: bool = False,
    error: type[UsageError] = UsageError,
) -> None:
    """Raise `error` unless `value` is an integer from `low` to `high`, and odd where asked for."""
    good = isinstance(value, int) and not isinstance(value, bool)
    if good and low <= value and (high is None or value <= high) and (value % 2 or not odd):  # type: ignore[operator]
        return
    bounds = f"of {low:,} or more" if high is None else f"from {low:,} to {high:,}"
    what = "an odd number" if odd else "a whole number"
    raise error(f"{name} must be {what} {bounds}, got {shown(value)}")


def check_number(
    name: str, value: object, interval: str, *, error: type[UsageError] = UsageError
) -> None:
    """Raise `error` unless `value` is a finite number in `interval`, written as "[0, 1)"."""
    low, high = (float(bound) for bound in interval[1:-1].split(","))
    number = math.nan
    if isinstance(value, int | float) and not isinstance(value, bool):
        number = float(value) if abs(value) < 1e300 else math.inf  # huge integers overflow
    above = number > low if interval[0] == "(" else number >= low
    below = number < high if interval[-1] == ")" else number <= high
    if not (above and below and math.isfinite(number)):
        raise error(f"{name} must be a number in {interval}, got {shown(value)}")


def check_choice(
    name: str, value: object, options: Iterable[object], *, error: type[UsageError] = UsageError
) -> None:
    """Raise `error` unless `value` is one of `options`."""
    options = tuple(options)
    if isinstance(value, bool) or value not in options:
        raise error(f"{name} must be {alternatives(options)}, got {shown(value)}")
