"""NAS-Bench-Macro (Su et al. 2021, arXiv 2103.11922): the space, and recorded networks of it.

space      the search space `NasBenchMacro`
identity   the block kind `id`
recorded   the recorded networks
build      makes the data file
"""
