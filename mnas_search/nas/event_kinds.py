"""What events of a journal hold: the members of each kind, and the values that they may have."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, final, get_args

from mnas_search.common.checks import shown
from mnas_search.nas.trial import MAX_NUMBER, Status


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A member of an event: what its value must be, in words and as a function."""

    text: str
    accepts: Callable[[Any], bool]
    optional: bool = False  # it may be missing, or null


def optional(member: Member) -> Member:
    """Return the same member, which may also be missing or null."""
    return replace(member, text=f"{member.text}, or none", optional=True)


EventKinds = Mapping[str, Mapping[str, Member]]  # by name of the event, by name of the member


def _is_number(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and -MAX_NUMBER < value < MAX_NUMBER


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < MAX_NUMBER


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)  # before it is written, and after


TEXT = Member(text="text", accepts=lambda value: isinstance(value, str))
NUMBER = Member(text="a number", accepts=_is_number)
COUNT = Member(text="a whole number of at least 0", accepts=_is_count)
SECONDS = Member(
    text="a number of at least 0", accepts=lambda value: _is_number(value) and value >= 0
)
FRACTION = Member(
    text="a fraction from 0 to 1", accepts=lambda value: _is_number(value) and 0 <= value <= 1
)
OBJECT = Member(text="an object", accepts=lambda value: isinstance(value, dict))
OBJECTS = Member(
    text="a list of objects",
    accepts=lambda value: _is_list(value) and all(isinstance(v, dict) for v in value),
)
ROWS = Member(
    text="a list of lists of whole numbers",
    accepts=lambda value: (
        _is_list(value) and all(_is_list(row) and all(map(_is_count, row)) for row in value)
    ),
)
OPINION = Member(
    text="an accuracy and its deviation",
    accepts=lambda value: (
        isinstance(value, dict)
        and FRACTION.accepts(value.get("accuracy"))
        and (value.get("std") is None or NUMBER.accepts(value["std"]))
    ),
)
STATUS = Member(
    text=f"one of {', '.join(get_args(Status))}",
    accepts=lambda value: isinstance(value, str) and value in get_args(Status),
)

TRAINING: Mapping[str, Member] = {
    "fingerprint": TEXT,
    "seed": COUNT,
    "accuracy": optional(FRACTION),
    "seconds": SECONDS,
    "error": optional(TEXT),
    "recipe": optional(TEXT),
    "trial": optional(COUNT),
    "test": optional(FRACTION),
    "images": optional(COUNT),
    "correct": optional(TEXT),
}
LATENCY: Mapping[str, Member] = {
    "fingerprint": TEXT,
    "seconds": SECONDS,
    "low": SECONDS,
    "high": SECONDS,
    "reference": optional(SECONDS),
}
SEARCH_EVENTS: EventKinds = {
    "session": {"seconds": optional(SECONDS)},
    "warm start": {"wanted": OBJECTS, "known": OBJECTS},
    "ask": {
        "trial": COUNT,
        "choices": OBJECT,
        "fingerprint": TEXT,
        "duplicate_of": optional(COUNT),
        "seed": COUNT,
    },
    "rung": {
        "trial": COUNT,
        "rung": COUNT,
        "accuracy": FRACTION,
        "reward": NUMBER,
        "seconds": SECONDS,
    },
    "tell": {
        "trial": COUNT,
        "status": STATUS,
        "accuracy": optional(FRACTION),
        "macs": COUNT,
        "params": COUNT,
        "inference_memory": optional(COUNT),
        "latency": optional(SECONDS),
        "reward": optional(NUMBER),
        "seconds": SECONDS,
        "error": optional(TEXT),
        "rung": optional(COUNT),
    },
    "repeat": TRAINING,
    "final": TRAINING,
    "verdict": TRAINING,
    "test": TRAINING,
    "time over": {"budget": optional(SECONDS), "phase": optional(TEXT)},
    "latency": LATENCY,
    "prior plan": {"members": COUNT, "steps": COUNT, "codes": ROWS, "seconds": OBJECT},
    "prior training": {
        "member": COUNT,
        "steps": COUNT,
        "seconds": SECONDS,
        "error": optional(TEXT),
    },
    "prior reading": {**TRAINING, "network": COUNT},
    "prior": {"readings": COUNT, "seconds": SECONDS},
}
# Of the journal `answers.jsonl`: what a report would otherwise ask code for.
ANSWER_EVENTS: EventKinds = {
    "answers": {
        "decisions": Member(text="a list", accepts=_is_list),
        "first": OBJECT,
        "networks": OBJECT,
        "estimates": OBJECT,
        "evaluator": OBJECT,
    },
    "opinion": {"fingerprint": TEXT, "searched": OPINION, "checked": OPINION},
}


def check_event(event: Mapping[str, Any], kinds: EventKinds | None) -> None:
    """Raise `ValueError`, in words for a message, for an event that no journal of these kinds can
    hold; None accepts any event that has a name and a time."""
    name = event.get("event")
    members: Mapping[str, Member] = {}
    if kinds is None:
        _check("event", name, TEXT)
    elif not isinstance(name, str) or name not in kinds:
        raise ValueError(f"event must be one of {', '.join(kinds)}, got {shown(name)}")
    else:
        members = kinds[name]
    for member, kind in {**members, "time": SECONDS}.items():
        _check(member, event.get(member), kind)


def _check(name: str, value: Any, member: Member) -> None:
    if value is None and member.optional:
        return
    if value is None or not member.accepts(value):
        raise ValueError(f"{name} must be {member.text}, got {shown(value)}")
