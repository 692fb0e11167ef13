"""Search for the best network at a throughput on a device, from recorded ImageNet trainings.

    python examples/search_for_a_device.py throughput_a100 8000

A line on stderr tells of each network with a better reward; the best one is printed at the end.

Accuracy is "16-epoch ImageNet top-1 (Accel-NASBench)" and throughput (images/s) is that recorded
on the device, both predicted. The predicted seconds per image are the latency T(m) that the
objective bounds; the reward is ACC(m) * [T(m) / T]^-0.07 within T (MnasNet eq. 2).
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
    """Print the best network found, and each better one on stderr on the way."""
    space = load_plugin("search_spaces", "efficientnet")()
    counts, log_throughput = space_cost(space), device_performance(device).expect

    def costs(codes):
        return {**counts(codes), "latency": np.exp(-log_throughput(codes))}

    objective = Objective(target=1 / images_a_second, metric="latency")
    problem = Problem(decisions=space.decisions, objective=objective, costs=costs)
    controller = load_plugin("controllers", "bayesian")(problem)
    accuracy = load_plugin("evaluators", "accel_nasbench")().predictor(space)
    best = None
    for number in range(EVALUATIONS):
        choices = controller.ask(np.random.default_rng((0, number)))
        codes = np.array([encode_choices(space.decisions, choices)])
        found = {name: cost[0].item() for name, cost in costs(codes).items()}
        predicted = float(accuracy(codes)[0])
        trial = Trial(
            number=number,
            choices=choices,
            fingerprint=space.decode(choices).fingerprint,
            status="ok",
            accuracy=predicted,
            costs=found,
            reward=objective.reward_of(predicted, found),
            feasible=objective.is_feasible(found),
            seconds=0.0,
        )
        controller.tell(trial)
        if trial.feasible and (best is None or trial.reward > best.reward):
            best = trial
            print(f"trial {number}: {described(best, device)}", file=sys.stderr, flush=True)
    print(space.decode(best.choices).block_string)
    print(described(best, device))


def described(trial: Trial, device: str) -> str:
    """Return a trial's predicted accuracy and throughput as text."""
    throughput = 1 / trial.costs["latency"]
    return f"accuracy {trial.accuracy:.4f}, {throughput:,.0f} images/s on {device}"


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(f"usage: {sys.argv[0]} PERFORMANCE IMAGES_PER_SECOND")
    main(sys.argv[1], float(sys.argv[2]))
