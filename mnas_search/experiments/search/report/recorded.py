"""What a report needs of the user's code, journalled, so that it is written without the code.

At the end of a session with code of the user's own, `answers.jsonl` gets its answers: networks of
the proposals, the decisions, the controller's estimates, what the evaluator says of itself. From
them `stand_ins` makes plug-ins for `plugins.replaced`, which answer the same and run nothing.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from mnas_search.architecture.block_string import parse_stages
from mnas_search.architecture.traced_network import Network
from mnas_search.architecture.value import Architecture
from mnas_search.common import plugins
from mnas_search.common.errors import UsageError
from mnas_search.experiments.search.checks import PLUGINS
from mnas_search.experiments.search.config import Setup
from mnas_search.experiments.search.result import Result
from mnas_search.nas.controller import Controller
from mnas_search.nas.evaluator import Evaluator, Resources, is_noisy, label_of, validation_images
from mnas_search.nas.problem import Problem
from mnas_search.nas.space.choices import Choices, Codes, Decision, encode
from mnas_search.nas.space.contract import SearchSpace, decode, first_network
from mnas_search.nas.trial import Evaluation, Trial

ANSWERS = "answers.jsonl"  # the journal of answers
EVENT = "answers"
_Events = Sequence[Mapping[str, Any]]


def answers(
    setup: Setup, result: Result, events: _Events, before: _Events
) -> dict[str, Any] | None:
    """Return the event of what the user's code answers, to append.

    None where there is nothing new, and where a report needs the code after all: for networks that
    are no chains of stages, for a prior, for an evaluator with second opinions.

    Args:
        events: of the run's journals.
        before: of the journal of answers.
    """
    checked = setup.check is not None and "evaluator" in _own(setup.recorded)
    if setup.config.prior is not None or checked:
        return None
    first = first_network(setup.space)
    found: dict[str, Any] = {}
    for choices, fingerprint in _proposals(events):
        if fingerprint not in found:
            found[fingerprint] = _written(decode(setup.space, choices), first)
    if not isinstance(first, Architecture) or None in found.values():
        return None
    evaluator = result.evaluator
    event = {
        "event": EVENT,
        "decisions": [[one.name, list(one.options)] for one in setup.space.decisions],
        "first": first.to_dict(),
        "networks": found,
        "estimates": {str(number): mean for number, mean in result.estimates.items()},
        "evaluator": {
            "label": label_of(evaluator),
            "noisy": is_noisy(evaluator),
            "in_process": evaluator.resources is None,
            "validation_images": validation_images(evaluator),
            "tested": setup.tested is not None,
            "caveats": list(result.caveats),
        },
        "phase": "end",
    }
    last = _last(before)
    same = last is not None and all(last.get(name) == event[name] for name in event)
    return None if same else event


def names_code(config: Mapping[str, Any]) -> bool:
    """Return whether a run's options name code of the user's own."""
    return bool(_own(config))


def stand_ins(
    config: Mapping[str, Any], events: _Events, answered: _Events
) -> dict[str, Any] | None:
    """Return plug-ins by name that answer as the user's code did; empty for a run without such
    code, None where not all answers are there.

    Args:
        config: the run's options.
        events: of the run's journals, its own first.
        answered: of the journal of answers.
    """
    if not _own(config):
        return {}
    if (event := _last(answered)) is None:
        return None
    try:
        return _stand_ins(config, event, events)
    except (LookupError, TypeError, ValueError, AttributeError):  # not what `answers` gives
        return None


def _stand_ins(
    config: Mapping[str, Any], event: Mapping[str, Any], events: _Events
) -> dict[str, Any] | None:
    own = _own(config)
    proposals = list(_proposals(events))
    if any(fingerprint not in event["networks"] for _, fingerprint in proposals):
        return None  # the last session was killed, or is under way
    space, controller = _space(event, proposals), _controller(event, events)
    evaluator = _evaluator(event["evaluator"])
    made = {"space": space, "evaluator": evaluator, "controller": controller}
    needed = {"controller"} | ({"evaluator"} if {"evaluator", "data"} & own else set())
    needed |= own & {"space"}
    return {config[option]: made[option] for option in needed}


def _own(config: Mapping[str, Any]) -> set[str]:
    """Return the options that name code of the user's own."""
    return {name for name in PLUGINS if config.get(name) and plugins.has_content(config[name])}


def _last(events: _Events) -> Mapping[str, Any] | None:
    return next((event for event in reversed(events) if event["event"] == EVENT), None)


def _proposals(events: _Events) -> Iterator[tuple[Choices, str]]:
    """Yield choices and fingerprint of all networks that the journals name."""
    for event in events:
        if event["event"] == "ask":
            yield event["choices"], event["fingerprint"]
        for known in event["known"] if event["event"] == "warm start" else ():
            yield known["choices"], known["fingerprint"]


def _written(network: Network, first: Network) -> Any:
    """Return a network's block string, or all of it where it differs from the space's first one in
    more than its stages; None for one that is no chain of stages."""
    if not isinstance(network, Architecture) or not isinstance(first, Architecture):
        return None
    text = network.block_string
    return text if _read(text, first) == network else network.to_dict()


def _read(written: Any, first: Architecture) -> Architecture:
    if isinstance(written, str):
        return replace(first, stages=parse_stages(written))
    return Architecture.from_dict(written)


def _space(event: Mapping[str, Any], proposals: Iterable[tuple[Choices, str]]) -> SearchSpace:
    first = Architecture.from_dict(event["first"])
    decisions = tuple(Decision(name=n, options=tuple(o)) for n, o in event["decisions"])
    networks = {
        encode(decisions, choices): _read(event["networks"][fingerprint], first)
        for choices, fingerprint in proposals
    }
    networks.setdefault((0,) * len(decisions), first)
    return _RecordedSpace(decisions, networks)


@final
class _RecordedSpace(SearchSpace):
    """The networks of a run's proposals."""

    def __init__(
        self, decisions: tuple[Decision, ...], networks: Mapping[tuple[int, ...], Architecture]
    ) -> None:
        self._decisions, self._networks = decisions, networks

    @property
    def decisions(self) -> tuple[Decision, ...]:
        return self._decisions

    def decode(self, choices: Choices) -> Network:
        found = self._networks.get(encode(self._decisions, choices))
        if found is None:
            raise UsageError(f"the journal has no network for {dict(choices)}")
        return found


def _controller(event: Mapping[str, Any], events: _Events) -> type[Controller]:
    # The run's own journal is the first one; a random search numbers its trials from 0 too.
    choices = {str(e["trial"]): e["choices"] for e in reversed(events) if e["event"] == "ask"}
    estimates = [(choices[number], mean) for number, mean in event["estimates"].items()]

    @final
    class Recorded(Controller):
        """A controller that proposes nothing, with the estimates of the run's own."""

        uses_prior = True

        def __init__(self, problem: Problem) -> None:
            self._means = {encode(problem.decisions, made): mean for made, mean in estimates}

        def ask(self, rng: np.random.Generator) -> Choices:
            raise UsageError("a recorded controller proposes nothing")

        def tell(self, trial: Trial) -> None:
            """Learn nothing."""

        def estimate(self, codes: Codes) -> NDArray[np.float64] | None:
            means = [self._means.get(tuple(row)) for row in codes.tolist()]
            known = [mean for mean in means if mean is not None]
            return np.array(known) if len(known) == len(means) else None

    return Recorded


def _evaluator(says: Mapping[str, Any]) -> type[Evaluator]:
    @final
    class Recorded(Evaluator):
        """An evaluator that evaluates nothing, and says of itself what the run's own did."""

        label, noisy = says["label"] or "", says["noisy"]
        resources = None if says["in_process"] else Resources()

        def __init__(
            self,
            *,
            data: str | None = None,
            proxy: str | None = None,
            init: object = None,
            deployment: int | None = None,
        ) -> None:
            """Take what the run's own was made with."""

        def evaluate(self, network: Network, *, seed: int) -> Iterator[Evaluation]:
            raise UsageError("a recorded evaluator evaluates nothing")

        def caveats(self, network: Network) -> tuple[str, ...]:
            return tuple(says["caveats"])

        def with_test_split(self) -> Evaluator | None:
            return self if says["tested"] else None

        def with_intermediate_reports(self, factor: int) -> Evaluator:
            return self

    return Recorded
