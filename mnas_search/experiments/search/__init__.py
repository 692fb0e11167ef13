"""A search with a folder: `mnas-search run`.

config      what is asked for, with every name resolved
run         a whole run, from its folder to its end
parts       the stages of a run
stages/     what follows the search
result      what was found
folder      the files of a run
warm_start  architectures and runs to begin with
latency     latency in a run: its table, its winners
report/     the page and the summary
api         `mnas_search.search`
"""
