"""What `mnas-search profile` shows of a network."""
