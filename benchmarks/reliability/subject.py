"""A small space with an evaluator that answers at once, for runs that are broken on purpose."""

from dataclasses import replace

from mnas_search import Architecture, Choices, Stage, cost
from mnas_search.nas.space.mapped import ChangedStages
from mnas_search.testing import ToySpace

NETWORK = "ds_r1_k3_s1_c8 ir_r1_k3_s2_e4_c16"  # of trainings


class Space(ChangedStages):
    """Three small stages at any resolution."""

    def __init__(self, *, resolution: int = 32, num_classes: int = 10) -> None:
        toy = ToySpace()
        template = replace(toy.template, resolution=resolution, num_classes=num_classes)
        super().__init__(toy, template)

    def stage(self, index: int, choices: Choices) -> Stage:
        """Return a depthwise separable stage."""
        return self._space.stage(index, choices)


def score(architecture: Architecture) -> float:
    """Return an accuracy that saturates with the parameters."""
    params = cost(architecture).params
    return params / (params + 5e4)
