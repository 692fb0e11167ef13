"""A small problem with a known optimum, which the suites share."""

from mnas_search.architecture.stage import Stage
from mnas_search.architecture.value import Architecture
from mnas_search.nas.space.choices import Choices, Decision
from mnas_search.nas.space.contract import StagewiseSpace


class ToySpace(StagewiseSpace):
    """Three small stages: 6^3 = 216 codes, fewer networks."""

    @property
    def template(self) -> Architecture:
        """A small stem and head."""
        return Architecture(
            stages=(Stage(kind="ds", kernel=3, stride=1, out_channels=8, repeats=1),),
            resolution=32,
            num_classes=10,
        )

    @property
    def stage_decisions(self) -> tuple[tuple[Decision, ...], ...]:
        """Width and kernel."""
        return tuple(
            (
                Decision(name=f"s{i}.width", options=(8, 16, 24)),
                Decision(name=f"s{i}.kernel", options=(3, 5)),
            )
            for i in range(3)
        )

    def stage(self, index: int, choices: Choices) -> Stage:
        """Return a depthwise separable stage."""
        return Stage(
            kind="ds",
            kernel=int(choices[f"s{index}.kernel"]),
            stride=2,
            out_channels=int(choices[f"s{index}.width"]),
            repeats=1,
        )


def toy_accuracy(choices: Choices) -> float:
    """Return a separable accuracy in [0.5, 0.9] whose optimum is every decision's last option."""
    wide = sum(float(value) / 24 for name, value in choices.items() if name.endswith("width"))
    kernels = sum(value == 5 for name, value in choices.items() if name.endswith("kernel"))
    return 0.5 + 0.4 * (0.8 * wide / 3 + 0.2 * kernels / 3)
