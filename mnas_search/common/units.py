"""Sizes (400M, 4e8), bytes (20M, 1.5GB), durations (90, 10m, 1.5h) and latencies (20ms)."""

import math
import re

from mnas_search.common.errors import UsageError

_SIZES = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "b": 1e9, "t": 1e12}
# In powers of 1,000, as torch and disks count; B is a byte here, not a billion.
_BYTES = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12}
_BYTES |= {f"{unit}b": value for unit, value in _BYTES.items()}
_BYTES |= {"kib": 2.0**10, "mib": 2.0**20, "gib": 2.0**30, "tib": 2.0**40}
_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SHORT = {"s": 1.0, "ms": 1e-3, "us": 1e-6}
_NUMBER = re.compile(r"\s*(\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+)\s*([A-Za-z]*)\s*")


def parse_size(text: str) -> float:
    """Parse a positive number with an optional K, M, G (or B) or T."""
    return _parse(text, _SIZES, "a positive size such as 400M, 0.4G or 4e8")


def parse_bytes(text: str) -> float:
    """Parse a positive number of bytes with an optional unit: KB is 1,000, KiB is 1,024 bytes."""
    return _parse(text, _BYTES, "a positive number of bytes such as 20M, 20MB, 1.5G or 512KiB")


def parse_duration(text: str) -> float:
    """Parse seconds: a positive number with an optional s, m, h or d."""
    return _parse(text, _SECONDS, "a positive duration such as 90, 10m or 1.5h")


def parse_latency(text: str) -> float:
    """Parse seconds: a positive number with ms, s or us; the unit is required."""
    return _parse(text, _SHORT, "a positive latency with its unit such as 20ms, 0.02s or 500us")


def _parse(text: str, units: dict[str, float], expected: str) -> float:
    match = _NUMBER.fullmatch(text)
    if match and match[2].lower() in units:
        value = float(match[1]) * units[match[2].lower()]
        if math.isfinite(value) and value > 0:
            return value
    raise UsageError(f"expected {expected}, got {text!r}")


def format_size(value: float) -> str:
    """Format with at most three digits and a unit: 400M, 1.83G."""
    for unit, name in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "K")):
        if value >= 0.9995 * unit:
            return f"{value / unit:.3g}{name}"
    return f"{value:.3g}"


def format_bytes(value: float) -> str:
    """Format with at most three digits and a unit: 20MB, 1.5GB."""
    return f"{format_size(value)}B"


def format_latency(seconds: float) -> str:
    """Format with at most three digits, in milliseconds: 20 ms, 0.512 ms, 1,250 ms."""
    ms = seconds * 1e3
    # From here on three digits would round to 1.00e+03.
    return f"{ms:,.0f} ms" if ms >= 999.5 else f"{ms:#.3g}".rstrip(".") + " ms"


def format_duration(seconds: float) -> str:
    """Format as minutes and seconds: 3 min 05 s."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.1f} s"
