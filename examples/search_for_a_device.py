"""Search for the best network at a throughput on a device, from recorded ImageNet trainings.

    python examples/search_for_a_device.py throughput_a100 8000

Accuracy is "16-epoch ImageNet top-1 (Accel-NASBench)" and throughput (images/s) is that recorded
on the device, both predicted. A controller asks nothing of its cost but that it is exact to it and
small where it should be: here the predicted time of an image in picoseconds takes the place of
multiply-adds, and the reward is ACC(m) * [TIME(m) / T]^-0.07 within T (MnasNet eq. 2).
"""

import sys

import numpy as np

from mnas_search import (
    Objective,
    Problem,
    Trial,
    device_performance,
    encode_choices,
    load_plugin,
    space_cost,
)

EVALUATIONS = 40


def main(device: str, images_a_second: float) -> None:
    """Print the best network found."""
    space = load_plugin("search_spaces", "efficientnet")()
    params = space_cost(space)
    log_throughput = device_performance(device).expect

    def cost(codes):
        picoseconds = 1e12 / np.exp(log_throughput(codes))
        return picoseconds.astype(np.int64), params(codes)[1]

    problem = Problem(
        decisions=space.decisions, objective=Objective(target=1e12 / images_a_second), cost=cost
    )
    controller = load_plugin("controllers", "bayesian")(problem)
    accuracy = load_plugin("evaluators", "accel_nasbench")().predictor(space)
    best = None
    for number in range(EVALUATIONS):
        choices = controller.ask(np.random.default_rng((0, number)))
        codes = np.array([encode_choices(space.decisions, choices)])
        (time,), (count,) = cost(codes)
        predicted = float(accuracy(codes)[0])
        trial = Trial(
            number=number,
            choices=choices,
            fingerprint=space.decode(choices).fingerprint,
            status="ok",
            accuracy=predicted,
            macs=int(time),
            params=int(count),
            reward=problem.objective.reward(predicted, int(time)),
            within_target=problem.objective.within(int(time)),
            seconds=0.0,
        )
        controller.tell(trial)
        if trial.within_target and (best is None or trial.reward > best.reward):
            best = trial
    print(space.decode(best.choices).block_string)
    print(f"accuracy {best.accuracy:.4f}, {1e12 / best.macs:,.0f} images/s on {device}")


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
