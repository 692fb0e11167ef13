"""Compound scaling with trainings, figures and files: `mnas-search scale`."""
