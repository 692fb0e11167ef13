"""A search with a folder: `mnas-search run`.

options     the options of a run: one list, for the command line and for Python
checks      what is refused before anything is built
config      a run's configuration with every name resolved
run         a whole run, from its folder to its files
stages/     the search, and what follows it
result      what was found
recommendation  what the run recommends, and its file
folder      the files of a run
warm_start  architectures and earlier runs to begin with
latency     latency in a run: its table, the winners measured again
time_limit  when the search has to end, under a time budget
report/     the page and the summary
api         `mnas_search.search`
"""
