"""Runs of the command line: arguments of a cheap one, and what its journal says."""

import json
from pathlib import Path

PATIENCE = 1_800  # seconds that a busy machine is given before a test gives up
EVALUATOR = f"{Path(__file__).parent / 'evaluators_for_tests.py'}:by_params"


def arguments(output, **changes):
    options = {
        "target-flops": "200M",
        "controller": "random_search",
        "evaluator": EVALUATOR,
        "trials": 12,
        "workers": 0,
        "output": output,
        **changes,
    }
    return [x for k, v in options.items() if v is not None for x in (f"--{k}", v)]


def events(folder):
    lines = (folder / "journal.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def timeless(folder):
    return [
        {k: v for k, v in event.items() if k not in ("time", "seconds")}
        for event in events(folder)
    ]
