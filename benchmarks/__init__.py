"""The project's own benchmarks; `mnas-search bench NAME` runs one."""
