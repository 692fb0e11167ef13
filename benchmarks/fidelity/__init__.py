"""What ranks networks, against recorded trainings: `mnas-search bench fidelity`.

macro    NAS-Bench-Macro: its search space and 1,200 recorded networks
"""
