"""Small search spaces whose stages are listed."""

import numpy as np

from mnas_search.architecture.stage import Stage
from mnas_search.architecture.value import Architecture
from mnas_search.nas.space.choices import Decision, sizes
from mnas_search.nas.space.contract import StagewiseSpace


class Listed(StagewiseSpace):
    """Each stage is one of the stages of a list."""

    def __init__(self, *stages):
        self.stages = stages

    @property
    def template(self):
        stages = (self.stages[0][0],)
        return Architecture(stages=stages, resolution=32, num_classes=10, head_channels=None)

    @property
    def stage_decisions(self):
        return tuple(
            (Decision(name=f"s{i}", options=tuple(range(len(own)))),)
            for i, own in enumerate(self.stages)
        )

    def stage(self, index, choices):
        return self.stages[index][choices[f"s{index}"]]


def stage(kind, kernel, expansion, out_channels, stride=2):
    return Stage(
        kind=kind,
        kernel=kernel,
        stride=stride,
        expansion=expansion,
        out_channels=out_channels,
        repeats=1,
    )


def random_space(seed):
    rng = np.random.default_rng(seed)

    def one():
        kind = rng.choice(["ds", "ir", "cn"])
        expansion = int(rng.integers(2, 7)) if kind == "ir" else 1
        kernel, out = int(rng.choice([1, 3, 5, 7])), int(rng.integers(2, 40))
        return stage(str(kind), kernel, expansion, out, stride=int(rng.integers(1, 3)))

    return Listed(*(tuple(dict.fromkeys(one() for _ in range(5))) for _ in range(3)))


def every(space):
    return np.array(list(np.ndindex(*sizes(space.decisions))))
