"""A search space of `pd` stages."""

from mnas_search import Architecture, Choices, Decision, Stage, StagewiseSpace, Stem

WIDTHS = ((8, 16), (16, 24, 32), (32, 48))


class NarrowSpace(StagewiseSpace):
    """Three stages of open width, kernel and depth."""

    def __init__(self, *, resolution: int = 32, num_classes: int | None = 10) -> None:
        self._resolution, self._num_classes = resolution, num_classes

    @property
    def template(self) -> Architecture:
        """A stem of 8 channels and no head convolution."""
        return Architecture.from_block_string(
            "pd_r1_k3_s1_c8",
            stem=Stem(channels=8),
            head_channels=None,
            resolution=self._resolution,
            num_classes=self._num_classes,
        )

    @property
    def stage_decisions(self) -> tuple[tuple[Decision, ...], ...]:
        """Width, kernel and number of blocks of each stage."""
        return tuple(
            (
                Decision(name=f"width{i}", options=widths),
                Decision(name=f"kernel{i}", options=(3, 5)),
                Decision(name=f"repeats{i}", options=(1, 2)),
            )
            for i, widths in enumerate(WIDTHS)
        )

    def stage(self, index: int, choices: Choices) -> Stage:
        """A stage of `pd` blocks; all but the first halve the map."""
        return Stage(
            kind="pd",
            kernel=choices[f"kernel{index}"],
            stride=2 if index else 1,
            expansion=1,
            out_channels=choices[f"width{index}"],
            repeats=choices[f"repeats{index}"],
        )
