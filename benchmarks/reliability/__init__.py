"""What breaks a run, and what then happens: `mnas-search bench reliability`.

Each part is a module with `run(count=, seed=, note=)`, which returns an `Outcome`:

    flips   bits flipped in, and ends cut off, the files of runs and trainings
    growth  seconds of a decision, of a resume, and memory, of long searches
    fuzz    wrong inputs: `command_lines`, `hostile_files`, `plugin_errors` (copies of `erring`)
    kills   commands killed with `kill -9` at random moments, and resumed

`calling` calls the command line in this process.
"""
