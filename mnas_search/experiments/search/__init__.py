"""A search with a folder: `mnas-search run`.

config      the options of a run, and the same with every name resolved
run         a whole run, from its folder to its files
stages/     the search, and what follows it
result      what was found
folder      the files of a run
warm_start  architectures and earlier runs to begin with
latency     latency in a run: its table, the winners measured again
report/     the page and the summary
api         `mnas_search.search`
"""
