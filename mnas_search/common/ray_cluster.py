"""A Ray cluster: a private one on this machine, or an existing one.

Importing this module imports Ray.
"""

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator
from typing import Any

from mnas_search.common.errors import UsageError
from mnas_search.common.processes.signals import keeping_sigterm

_LOG = logging.getLogger(__name__)
# Ray reads these when it is imported or started.
for _name, _value in {
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
}.items():
    os.environ.setdefault(_name, _value)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import ray


@contextlib.contextmanager
def cluster(address: str | None, *, cpus: float, gpus: float, what: str) -> Iterator[float]:
    """Start or join Ray until the end of the block; yields the number of GPUs.

    Args:
        address: of a cluster to join; None starts a private one on this machine.
        cpus: of a private cluster.
        gpus: required by each job; raises `UsageError` if the cluster has fewer.
        what: a job, for the message.
    """
    if ray.is_initialized():
        raise UsageError("Ray is running in this process already: call ray.shutdown() first")
    shared: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        # "local" starts a new cluster even if RAY_ADDRESS names another one.
        shared |= {"num_cpus": max(1, round(cpus)), "include_dashboard": False}
    try:
        with keeping_sigterm():
            ray.init(address=address or "local", **shared)
    except ConnectionError as error:
        raise UsageError(
            f"no Ray cluster at {address!r}: {error} (a cluster that asks for a token needs "
            "RAY_AUTH_MODE=token and the token on this machine)"
        ) from None
    try:
        available: float = ray.cluster_resources().get("GPU", 0.0)
        if gpus > available:
            raise UsageError(f"{gpus:g} GPUs {what} required, but Ray sees {available:g}")
        joined = "started on this machine" if address is None else f"joined at {address}"
        _LOG.info("Ray %s, with %g GPUs", joined, available)
        yield available
    finally:
        with keeping_sigterm():
            ray.shutdown()
