"""Decisions and choices: what a search space leaves open, and one way to settle it.

A `Decision` is a named finite choice. `Choices` map each decision's name to an option; codes are
the same as positions: `codes[j]` is the index of the option in `decisions[j].options`. A generator
is always passed in and consumed; nothing here draws from hidden state.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mnas_search.common.errors import InvalidChoices

Option = bool | int | float | str
Choices = Mapping[str, Option]
Codes = NDArray[np.integer]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A named choice between at least one option, all different."""

    name: str
    options: tuple[Option, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.options, tuple) or not self.options:
            raise InvalidChoices(
                f"options of {self.name!r} must be a non-empty tuple, got {self.options!r}"
            )
        # numpy's scalars are no JSON, and a tuple would come back from the journal as a list.
        plain = tuple(o.item() if isinstance(o, np.generic) else o for o in self.options)
        for option in plain:
            finite = not isinstance(option, float) or math.isfinite(option)
            if not (isinstance(option, bool | int | float | str) and finite):
                raise InvalidChoices(
                    f"options of {self.name!r} must be booleans, finite numbers or strings, "
                    f"got {option!r}"
                )
        object.__setattr__(self, "options", plain)
        if len({(type(o) is bool, o) for o in self.options}) != len(self.options):
            raise InvalidChoices(f"options of {self.name!r} must be different, got {self.options}")

    def code(self, option: object) -> int:
        """Return the index of `option`; raise `InvalidChoices` for anything else."""
        for index, own in enumerate(self.options):
            if own == option and isinstance(own, bool) == isinstance(option, bool):
                return index
        options = ", ".join(map(repr, self.options))
        raise InvalidChoices(f"{self.name} must be one of {options}, got {option!r}")


def sizes(decisions: Sequence[Decision]) -> tuple[int, ...]:
    """Return the number of options of each decision."""
    return tuple(len(d.options) for d in decisions)


def encode(decisions: Sequence[Decision], choices: Choices) -> tuple[int, ...]:
    """Return the codes of choices; raise `InvalidChoices` for a missing or unknown one."""
    names = {d.name for d in decisions}
    for name in choices:
        if name not in names:
            known = ", ".join(sorted(names))
            raise InvalidChoices(f"decision must be one of {known}, got {name!r}")
    for decision in decisions:
        if decision.name not in choices:
            raise InvalidChoices(
                f"choices must have every decision, got none for {decision.name!r}"
            )
    return tuple(d.code(choices[d.name]) for d in decisions)


def decode(decisions: Sequence[Decision], codes: Sequence[int] | Codes) -> dict[str, Option]:
    """Return the choices of codes; raise `InvalidChoices` for codes out of range."""
    if len(codes) != len(decisions):
        raise InvalidChoices(f"codes must be {len(decisions)}, one per decision, got {len(codes)}")
    for decision, code in zip(decisions, codes, strict=True):
        if not 0 <= code < len(decision.options):
            raise InvalidChoices(
                f"code of {decision.name} must be from 0 to {len(decision.options) - 1}, "
                f"got {code}"
            )
    return {d.name: d.options[int(c)] for d, c in zip(decisions, codes, strict=True)}


def canonical(decisions: Sequence[Decision], choices: Choices) -> dict[str, Option]:
    """Return choices with each option as its decision holds it: numpy's 3 as Python's; raises
    `InvalidChoices` for a missing or unknown one."""
    return decode(decisions, encode(decisions, choices))


def sample_codes(
    decisions: Sequence[Decision], count: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw codes [count, D] uniformly."""
    return rng.integers(0, np.array(sizes(decisions)), size=(count, len(decisions)))


def sample(decisions: Sequence[Decision], rng: np.random.Generator) -> dict[str, Option]:
    """Draw choices uniformly."""
    return decode(decisions, sample_codes(decisions, 1, rng)[0])


def mutate(
    decisions: Sequence[Decision], choices: Choices, rng: np.random.Generator
) -> dict[str, Option]:
    """Return `choices` with one decision, drawn uniformly, set to another of its options. The
    mutation of regularized evolution (Real et al. 2019) on a fixed-length encoding."""
    open_decisions = [d for d in decisions if len(d.options) > 1]
    if not open_decisions:
        return dict(choices)
    decision = open_decisions[rng.integers(len(open_decisions))]
    old = decision.code(choices[decision.name])
    others = [option for code, option in enumerate(decision.options) if code != old]
    return {**choices, decision.name: others[rng.integers(len(others))]}
