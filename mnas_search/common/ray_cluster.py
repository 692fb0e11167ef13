"""A Ray cluster: a private one on this machine, or an existing one.

Importing this module imports Ray.
"""

import atexit
import contextlib
import logging
import os
import secrets
import warnings
from collections.abc import Iterator
from pathlib import Path

from mnas_search.common.errors import UsageError, WorkFailed, reason_of, single_line, text_of
from mnas_search.common.processes.head_watch import ELSEWHERE, HeadGone, answers, watching
from mnas_search.common.processes.scratch import scratch_folder
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
    joined = None if address in (None, "local") else address
    with _started(cpus) if joined is None else _joined(joined):
        available: float = ray.cluster_resources().get("GPU", 0.0)
        if gpus > available:
            raise UsageError(f"{gpus:g} GPUs {what} required, but Ray sees {available:g}")
        how = "started on this machine" if joined is None else f"joined at {joined}"
        _LOG.info("Ray %s, with %g GPUs", how, available)
        yield available


@contextlib.contextmanager
def _started(cpus: float) -> Iterator[None]:
    """Start a private cluster, with all of its files in a folder that is removed."""
    with scratch_folder() as folder:
        _provide_token()
        try:
            with keeping_sigterm():
                # "local" starts a new cluster even if RAY_ADDRESS names another one.
                ray.init(
                    address="local",
                    num_cpus=max(1, round(cpus)),
                    include_dashboard=False,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    _temp_dir=str(folder),
                )
            yield
        except Exception as error:
            if ray.is_initialized():
                raise
            reason = reason_of(error) if isinstance(error, OSError) else text_of(error)
            raise WorkFailed(f"Ray does not start: {single_line(reason)}") from error
        finally:
            _leave()


@contextlib.contextmanager
def _joined(address: str) -> Iterator[None]:
    """Join a cluster; raise `WorkFailed` where there is none, or where its head goes away."""
    try:
        if not answers(address):
            raise ConnectionError("nothing answers there")
        with keeping_sigterm():
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except ConnectionError as error:
        raise WorkFailed(
            f"no Ray cluster at {address!r}: {single_line(str(error))} (a cluster that asks for a "
            f"token needs RAY_AUTH_MODE=token and the token on this machine); {ELSEWHERE}"
        ) from None
    except ValueError as error:
        raise UsageError(
            f"--ray-address must be HOST:PORT, auto or local, got {address!r}"
        ) from error
    try:
        with watching(ray.get_runtime_context().gcs_address, f"joined at {address!r}"):
            yield
    except HeadGone:
        # Ray's own end would wait for the head. It ends this process soon, whatever is done.
        atexit.unregister(ray.shutdown)
        atexit.register(os._exit, 1)
        raise
    except BaseException:
        _leave()
        raise
    _leave()


def _leave() -> None:
    with keeping_sigterm():
        ray.shutdown()


def _provide_token() -> None:
    """Provide the token by which a private cluster knows its processes. Ray writes one below HOME,
    unless there is one; where it cannot, it stays in the environment of its processes."""
    named = "RAY_AUTH_TOKEN" in os.environ or "RAY_AUTH_TOKEN_PATH" in os.environ
    try:
        folder = Path.home() / ".ray"
        folder.mkdir(exist_ok=True)
        writable = (folder / "auth_token").is_file() or os.access(folder, os.W_OK)
    except (OSError, RuntimeError):  # no HOME, or one that is read-only
        writable = False
    if not (named or writable):
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
