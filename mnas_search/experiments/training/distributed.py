"""Train in several processes, on one machine or many, with Ray Train's `TorchTrainer`.

Ray Train starts the workers and torch's process group (NCCL where each has GPUs, else gloo).
Worker 0 writes our own checkpoints, so that on several machines the folder must lie where all of
them see it, as Ray Train's own storage must. Importing this module imports Ray.
"""

import os
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from mnas_search.common import plugins, ray_cluster
from mnas_search.common.errors import MnasSearchError, WorkFailed, describe_exception
from mnas_search.common.processes.scratch import scratch_folder
from mnas_search.experiments.training import checkpoints
from mnas_search.experiments.training.checkpoints import Epoch
from mnas_search.experiments.training.deadline import Deadline
from mnas_search.experiments.training.epochs import FullTraining, train_epochs
from mnas_search.training.worker_context import WorkerContext

# Ray Train reads these when it is imported or started.
for _name, _value in {
    "RAY_TRAIN_V2_ENABLED": "1",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "600",  # importing torch on a busy machine
}.items():
    os.environ.setdefault(_name, _value)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import ray
    from ray import cloudpickle, train
    from ray.train.torch import TorchTrainer, get_device

_POLL = 0.3  # seconds between looks at metrics.jsonl

cluster = ray_cluster.cluster


def train_on_ray(
    job: FullTraining,
    folder: Path,
    *,
    workers: int,
    gpus_per_worker: float,
    finished: Callable[[Epoch], None],
    deadline: Deadline | None = None,
) -> None:
    """Run `train_epochs` in `workers` processes, inside a `cluster`; raises `WorkFailed` as that
    does, and where a worker was lost."""
    for module in plugins.modules_from_files():
        cloudpickle.register_pickle_by_value(module)  # the users' own files travel by content
    errors: list[BaseException] = []
    gpus = {"GPU": gpus_per_worker} if gpus_per_worker else {}
    with scratch_folder() as scratch:
        trainer = TorchTrainer(
            _work,
            # By reference: each machine holds the images once, in shared memory.
            train_loop_config={
                "job": ray.put(job),
                "folder": str(folder.resolve()),
                "deadline": deadline,
                "now": (time.time(), time.monotonic()),
            },
            scaling_config=train.ScalingConfig(
                num_workers=workers, use_gpu=bool(gpus), resources_per_worker={"CPU": 1} | gpus
            ),
            run_config=train.RunConfig(name="training", storage_path=str(scratch)),
        )

        def fit() -> None:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    trainer.fit()
            except BaseException as error:
                errors.append(error)

        # In a thread of its own, where Ray Train leaves Ctrl-C alone.
        thread = threading.Thread(target=fit, daemon=True)
        thread.start()
        reported = len(checkpoints.read_metrics(folder))
        running = True
        while running:
            thread.join(_POLL)
            running = thread.is_alive()  # before the last reading of the metrics
            for epoch in checkpoints.read_metrics(folder)[reported:]:
                reported += 1
                finished(epoch)
    if errors:
        raise _failure(errors[0])


def _work(config: dict[str, Any]) -> None:
    """Train as one of the workers."""
    context = train.get_context()
    train_epochs(
        ray.get(config["job"]),
        Path(config["folder"]),
        device=str(get_device()),
        share=WorkerContext(rank=context.get_world_rank(), world_size=context.get_world_size()),
        deadline=_on_this_machine(config["deadline"], *config["now"]),
    )


def _on_this_machine(deadline: Deadline | None, wall: float, monotonic: float) -> Deadline | None:
    """Return the deadline of a machine whose clocks had these times, by this machine's clocks:
    only `time.time()` is the same on both."""
    if deadline is None:
        return None
    begun = time.monotonic() - (time.time() - wall)
    return replace(deadline, end=deadline.end - monotonic + begun)


def _failure(error: BaseException) -> BaseException:
    """Return the error of a worker, unwrapped from Ray's."""
    failures = getattr(error, "worker_failures", None) or {}
    for failure in [*(failures[rank] for rank in sorted(failures)), error]:
        inner: BaseException | None = failure
        while inner is not None:
            if isinstance(inner, MnasSearchError):
                return inner
            inner = inner.__cause__ or getattr(inner, "cause", None)
    cause = next(iter(failures.values()), error)
    return WorkFailed(f"a worker failed: {describe_exception(cause)}")
