"""How well cheap proxy trainings rank architectures: `mnas-search fidelity`.

config      the options
plan        the networks, and the recipes that measure them
trainings   the trainings and their results
scores      agreement of each proxy with each reference
study       all of it together
report      the conclusions in sentences
record      the files, the figure and the tables
"""
