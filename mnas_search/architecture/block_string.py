"""Stages as text in timm's grammar, one word per stage: `ir_r2_k3_s2_e6_c24_se0.25`.

The first part is the block kind; the others are read in any order and written in this one:

    r  repeats          k  kernel         s  stride       e  expansion      c  output channels
    se squeeze ratio    n  activation     skip / noskip / pool / proj

`se0` may be left out, and so may `e` where the kind has a default expansion: 1, and for
`bottleneck` 0.25 of its output width; `ir` and `er` require it. A skip is written where it differs
from the kind's default: identity for `ir`, `ds` and `er`, none for `cn` and `dsa`, projection for
`basic` and `bottleneck`. The activation is written unless it is SiLU. Extensions of timm's
grammar: `pool`, `proj`, `basic`, `bottleneck`, squeeze-and-excitation on `cn`, and `nge` (GELU).
"""

import re
from decimal import Decimal

from mnas_search.architecture.kind import block_kind
from mnas_search.architecture.stage import Stage
from mnas_search.common.errors import InvalidArchitecture, shorten

ACTIVATION_WORDS = {
    "nsw": "silu",
    "nre": "relu",
    "nr6": "relu6",
    "nhs": "hard_swish",
    "nmi": "mish",
    "nge": "gelu",
}
_SKIP_WORDS = {"skip": "identity", "noskip": "none", "pool": "pool", "proj": "projection"}
_WORD_OF_ACTIVATION = {activation: word for word, activation in ACTIVATION_WORDS.items()}
_WORD_OF_SKIP = {skip: word for word, skip in _SKIP_WORDS.items()}
_NUMBER = re.compile(r"(se|[rksec])([0-9]+(?:\.[0-9]+)?)")
_PARTS = "r, k, s, e, c, se with a number, " + ", ".join((*_SKIP_WORDS, *ACTIVATION_WORDS))
_MAX_TEXT = 100_000
_MAX_SHOWN = 80  # characters of a word in a message


def format_stages(stages: tuple[Stage, ...]) -> str:
    """Return the canonical text of `stages`, one word per stage."""
    return " ".join(_format(stage) for stage in stages)


def parse_stages(text: str) -> tuple[Stage, ...]:
    """Read stages from text; raises `InvalidArchitecture`, which quotes the invalid word.

    parse_stages("ds_r1_k3_s1_c16 ir_r2_k3_s2_e6_c24_se0.25")
    """
    if len(text) > _MAX_TEXT:
        raise InvalidArchitecture(
            f"a block string must have at most {_MAX_TEXT:,} characters, got {len(text):,}"
        )
    words = text.split()
    if not words:
        raise InvalidArchitecture(
            "empty block string: expected words such as ir_r2_k3_s2_e6_c24_se0.25"
        )
    return tuple(_parse(word) for word in words)


def _format(stage: Stage) -> str:
    parts = [
        stage.kind,
        f"r{stage.repeats}",
        f"k{stage.kernel}",
        f"s{stage.stride}",
        f"e{_number_text(stage.expansion)}",
        f"c{stage.out_channels}",
    ]
    if stage.se_ratio:
        parts.append(f"se{_number_text(stage.se_ratio)}")
    if stage.activation != "silu":
        parts.append(_WORD_OF_ACTIVATION[stage.activation])
    if stage.skip != block_kind(stage.kind).default_skip:
        parts.append(_WORD_OF_SKIP[stage.skip])
    return "_".join(parts)


def _number_text(value: float) -> str:
    # repr is the shortest text that reads back as the same float; an exponent, which the grammar
    # does not have, is written out.
    return format(Decimal(repr(value)), "f")


def _parse(word: str) -> Stage:
    try:
        return _stage(*word.split("_"))
    except InvalidArchitecture as error:
        raise InvalidArchitecture(f"block {shorten(word, _MAX_SHOWN)!r}: {error}") from None


def _stage(name: str, *parts: str) -> Stage:
    kind = block_kind(name)
    numbers: dict[str, str] = {}
    skip = activation = None
    for part in parts:
        if part in _SKIP_WORDS and skip is None:
            skip = _SKIP_WORDS[part]
        elif part in ACTIVATION_WORDS and activation is None:
            activation = ACTIVATION_WORDS[part]
        elif (match := _NUMBER.fullmatch(part)) and match[1] not in numbers:
            numbers[match[1]] = match[2]
        else:
            raise InvalidArchitecture(
                f"each part must be one of {_PARTS}, at most once, got "
                f"{shorten(part, _MAX_SHOWN)!r}"
            )
    for letter in ("r", "k", "s", "c"):
        if letter not in numbers:
            raise InvalidArchitecture(f"no {letter!r}; r, k, s and c are required")
    expansion = float(numbers["e"]) if "e" in numbers else kind.default_expansion
    if expansion is None:
        raise InvalidArchitecture(f"no 'e'; {name} needs an expansion")
    return Stage(
        kind=name,
        repeats=_whole("r", numbers["r"]),
        kernel=_whole("k", numbers["k"]),
        stride=_whole("s", numbers["s"]),
        out_channels=_whole("c", numbers["c"]),
        expansion=expansion,
        se_ratio=float(numbers.get("se", 0)),
        skip=kind.default_skip if skip is None else skip,
        activation=activation or "silu",
    )


def _whole(letter: str, text: str) -> int:
    if not text.isdecimal() or len(text) > 9:
        part = shorten(text, _MAX_SHOWN)
        raise InvalidArchitecture(
            f"{letter!r} must be followed by a whole number, got {letter}{part}"
        )
    return int(text)
