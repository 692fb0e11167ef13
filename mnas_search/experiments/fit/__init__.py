"""From images to a trained network within a time: `mnas-search fit`.

config     what a fit is asked for
measuring  seconds of real training steps
plan       the division of the time: a pure function of what was measured
resolutions  the baselines at two resolutions, trained as proxies
session    the folder and the phases
clock      how much time is left
result     what a fit has found, and its five lines
"""
