"""Your own search space and evaluator, in one file.

    mnas-search run --target-flops 150M --trials 20 \
        --space examples/my_space.py:MySpace --evaluator examples/my_space.py:score
"""

from mnas_search import Decision, Stage, StagewiseSpace, cost, reference


class MySpace(StagewiseSpace):
    """Four MBConv stages of open width and kernel under MobileNetV2's stem and head."""

    template = reference.architecture("mobilenet_v2")
    stage_decisions = tuple(
        (
            Decision(name=f"width{i}", options=(16 * (i + 1), 24 * (i + 1), 32 * (i + 1))),
            Decision(name=f"kernel{i}", options=(3, 5)),
        )
        for i in range(4)
    )

    def stage(self, index, choices):
        width, kernel = choices[f"width{index}"], choices[f"kernel{index}"]
        return Stage(
            kind="ir", kernel=kernel, stride=2, expansion=4, out_channels=width, repeats=2
        )


def score(architecture):
    """Return an accuracy that saturates with the parameters; replace it by a measurement."""
    params = cost(architecture).params
    return params / (params + 1e6)
