"""A whole training of one network: what `mnas-search train` does."""
