"""How well proxies rank: `mnas-search fidelity`.

config      what is asked for, and what a folder holds already
plan        which networks are measured by what
trainings   the work, and the record of it
scores      agreement with a reference, proxy by proxy
study       all of it together
"""
