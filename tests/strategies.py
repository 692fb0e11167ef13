"""Random architectures of every built-in space, and from the whole IR."""

import numpy as np
from hypothesis import strategies as st

from mnas_search.architecture.kind import block_kind
from mnas_search.architecture.stage import ACTIVATIONS, Stage, Stem
from mnas_search.architecture.value import Architecture
from mnas_search.common import plugins
from mnas_search.nas.space.choices import decode

SPACES = {
    name: plugins.load("search_spaces", name)()
    for name in ("efficientnet", "mnasnet", "mnasnet_published")
}


def codes(space):
    return st.tuples(*(st.integers(0, len(d.options) - 1) for d in space.decisions)).map(np.array)


def of_space(space):
    return codes(space).map(lambda c: space.decode(decode(space.decisions, c)))


any_space = st.sampled_from(sorted(SPACES)).map(SPACES.get)
of_any_space = any_space.flatmap(of_space)


@st.composite
def stages(draw):
    kind = draw(st.sampled_from(["cn", "ds", "dsa", "ir", "er", "basic", "bottleneck"]))
    residual = kind in ("basic", "bottleneck")
    expansions = {"ir": [1, 2, 2.5, 6], "er": [1, 2, 2.5, 6], "bottleneck": [0.25, 0.1, 1, 2]}
    return Stage(
        kind=kind,
        kernel=draw(st.sampled_from([1, 3, 5, 7])),
        stride=draw(st.sampled_from([1, 2])),
        expansion=draw(st.sampled_from(expansions.get(kind, [1]))),
        out_channels=draw(st.integers(1, 40)),
        repeats=draw(st.integers(1, 3)),
        se_ratio=0 if residual else draw(st.sampled_from([0, 0.25, 0.0625, 1])),
        skip=draw(st.sampled_from(block_kind(kind).skips)),
        activation=draw(st.sampled_from(ACTIVATIONS)),
    )


@st.composite
def architectures(draw):
    return Architecture(
        stages=tuple(draw(st.lists(stages(), min_size=1, max_size=3))),
        stem=Stem(
            channels=draw(st.integers(1, 24)),
            kernel=draw(st.sampled_from([1, 3, 7])),
            stride=draw(st.sampled_from([1, 2])),
            pool=draw(st.booleans()),
        ),
        head_channels=draw(st.none() | st.integers(1, 64)),
        activation=draw(st.sampled_from(ACTIVATIONS)),
        resolution=draw(st.integers(8, 40)),
        num_classes=draw(st.integers(1, 20)),
        padding=draw(st.sampled_from(["symmetric", "same"])),
        dropout_rate=draw(st.sampled_from([0, 0.2])),
        stochastic_depth_rate=draw(st.sampled_from([0, 0.2])),
        name=draw(st.none() | st.just("net")),
    )
