"""A Ray cluster: a private one on this machine, or an existing one.

Importing this module imports Ray.
"""

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator
from typing import Any

from mnas_search.common.errors import UsageError, WorkFailed, reason_of

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


# Ray's sockets lie in `<folder>/ray/session_<time>_<process>/sockets/`, and the path of a socket
# has at most 107 bytes.
_MAX_FOLDER = 36
_SHORT_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm")


def _short_temporary_folder() -> dict[str, str]:
    """Return `ray.init`'s option for a short temporary folder, where Ray's own is too long."""
    own = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"
    if len(os.fsencode(own)) <= _MAX_FOLDER:
        return {}
    usable = (folder for folder in _SHORT_FOLDERS if os.access(folder, os.W_OK | os.X_OK))
    folder = next(usable, None)
    return {} if folder is None else {"_temp_dir": f"{folder}/ray"}


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
        shared |= _short_temporary_folder()
    try:
        ray.init(address=address or "local", **shared)
    except ConnectionError as error:
        raise UsageError(
            f"no Ray cluster at {address!r}: {error} (a cluster that asks for a token needs "
            "RAY_AUTH_MODE=token and the token on this machine)"
        ) from None
    except OSError as error:
        raise WorkFailed(f"Ray does not start: {reason_of(error)}") from error
    try:
        available: float = ray.cluster_resources().get("GPU", 0.0)
        if gpus > available:
            raise UsageError(f"{gpus:g} GPUs {what} required, but Ray sees {available:g}")
        joined = "started on this machine" if address is None else f"joined at {address}"
        _LOG.info("Ray %s, with %g GPUs", joined, available)
        yield available
    finally:
        ray.shutdown()
