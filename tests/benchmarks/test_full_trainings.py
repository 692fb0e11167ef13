"""Full trainings beside predictions."""

import numpy as np
import pytest

from mnas_search.benchmarks import full_trainings
from mnas_search.evaluators.accel_nasbench.evidence import SPACE
from mnas_search.nas.space.choices import decode


def test_networks_are_the_ones_that_were_trained():
    """Stage by stage, as the benchmark's authors list the network called A100 a."""
    network = SPACE.decode(decode(SPACE.decisions, full_trainings.codes_of("a100-a")))
    found = [(s.expansion, s.kernel, s.repeats, s.se_ratio > 0) for s in network.stages]
    layers, squeezed = (2, 2, 3, 1, 3, 4, 3), (False, False, False, True, True, True, True)
    assert found == [
        (1 if i == 0 else 6, 3 if i == 0 else 5, layers[i], squeezed[i]) for i in range(7)
    ]
    assert len({full_trainings.codes_of(name) for name in full_trainings.TRAININGS}) == 10


def test_every_training_has_its_predictions():
    tables = full_trainings.run()
    rows = tables["networks"]
    assert [row["network"] for row in rows] == [*full_trainings.TRAININGS, "efficientnet_b0"]
    assert rows[-1]["full top-1"] == 77.1
    assert rows[-1]["FLOPs (M)"] == pytest.approx(385.81)
    assert not any(row["recorded"] for row in rows)  # else it would be no prediction
    predicted = np.array([row["Gaussian process"] for row in rows])
    # 16 epochs at lower resolution: about ten points below full trainings
    assert ((predicted > 60) & (predicted < 70)).all()
    for row in tables["agreement"]:
        value, low, high = map(
            float, row["tau"].replace("[", "").replace("]", "").replace(",", "").split()
        )
        assert -1 <= low <= value <= high <= 1
