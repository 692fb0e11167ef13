"""Command lines with options and arguments that are wrong, or right."""

from pathlib import Path

import click
import numpy as np

from mnas_search.cli.app import group

# Commands that measure or train for long where nothing is refused: they get a wrong option too.
_LONG = ("bench", "fidelity", "fit", "latency", "run", "train", "explain", "scale")
_JUNK = (
    "",
    " ",
    "-1",
    "0",
    "1",
    "2",
    "0.5",
    "1e400",
    "nan",
    "-inf",
    "9" * 400,
    "1_0",
    "abc",
    "é\u0301\u202e",
    "\udcff",
    "a\0b",
    "x" * 5000,
    "/dev/null",
    "/dev/full",
    "/proc/self/mem",
    "no/such/place",
    "none",
    "null",
    "a,b,,c",
    "=",
    "epochs=1",
    "epochs=nan,batch_size=-1",
    "mnasnet_a1",
    "efficientnet_b0 x0.5 @64",
    "ds_r1_k3_s1_c8 ir_r1_k3_s2_e4_c16",
    "ir_r99999999_k3_s1_e4_c16",
    "400M",
    "20ms",
    "10m",
    "python:score",
    "no.py:score",
    "hf:",
    "local",
    "127.0.0.1:1",
    "[]",
    "%s{}",
)


def draw(rng: np.random.Generator, samples: Path, place: Path) -> list[str]:
    """Draw a command with options and arguments."""
    path, command = _command(rng)
    words = [*path]
    options = [one for one in command.params if isinstance(one, click.Option)]
    arguments = [one for one in command.params if isinstance(one, click.Argument)]
    for _ in range(int(rng.integers(0, 3)) if arguments else int(rng.integers(0, 2))):
        words.append(_value(rng, samples))
    if options:
        for _ in range(int(rng.integers(0, 5))):
            option = options[rng.integers(len(options))]
            words.append(_spelled(rng, option.opts[-1]))
            if not option.is_flag or rng.random() < 0.1:
                words.append(_typed(rng, option, samples))
    if path[0] in _LONG:
        words.insert(int(rng.integers(1, len(words) + 1)), "--no-such-option")
    return words


def _command(rng: np.random.Generator) -> tuple[list[str], click.Command]:
    path, command = [], group
    found: click.Command = command
    while isinstance(found, click.Group):
        names = sorted(found.commands)
        if rng.random() < 0.02:
            return [*path, _JUNK[rng.integers(len(_JUNK))]], found
        name = names[rng.integers(len(names))]
        path.append(name)
        found = found.commands[name]
    return path, found


def _spelled(rng: np.random.Generator, option: str) -> str:
    return option[: int(rng.integers(1, len(option) + 1))] if rng.random() < 0.1 else option


def _typed(rng: np.random.Generator, option: click.Option, samples: Path) -> str:
    """Return a value, one that the option takes half of the time where they can be listed."""
    if isinstance(option.type, click.Choice) and rng.random() < 0.7:
        return str(rng.choice([str(choice) for choice in option.type.choices]))
    return _value(rng, samples)


def _value(rng: np.random.Generator, samples: Path) -> str:
    if rng.random() < 0.25:
        files = sorted(samples.rglob("*"))
        return str(files[rng.integers(len(files))])
    return _JUNK[rng.integers(len(_JUNK))]
