"""A plug-in of every kind, written with the public surface of mnas-search alone."""
