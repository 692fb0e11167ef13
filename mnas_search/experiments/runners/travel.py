"""What travels to the workers by pickle: evaluators and networks.

The users' own files travel by content, with the modules imported from beside them; what they
import later is found in the same folders as here, where a worker has them too. So what works in
this process works in a worker, or is refused before there is a run's folder.

Importing this module imports Ray.
"""

import subprocess
import sys
from dataclasses import dataclass
from typing import Any, final

from ray import cloudpickle

from mnas_search.common import plugins
from mnas_search.common.errors import (
    UsageError,
    WorkFailed,
    describe_exception,
    describe_failure,
    single_line,
)

# The folders of modules first: what is unpickled next may import from them.
_UNPACK = """
import pickle, sys
from mnas_search.experiments.runners.travel import unpack
unpack(pickle.load(sys.stdin.buffer))
"""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """A value on its way: pickled, and where this process finds modules."""

    content: bytes
    path: tuple[str, ...]


def pack(value: object) -> Packed:
    """Pickle a value for a worker; what cannot be pickled raises as it likes."""
    for module in plugins.modules_from_files():
        cloudpickle.register_pickle_by_value(module)
    return Packed(content=cloudpickle.dumps(value), path=tuple(filter(None, sys.path)))


def unpack(packed: Packed) -> Any:
    """Return the value in a worker; raises `WorkFailed` where it cannot be unpickled."""
    sys.path.extend(folder for folder in packed.path if folder not in sys.path)
    try:
        return cloudpickle.loads(packed.content)
    except (Exception, SystemExit) as error:
        raise WorkFailed(
            f"a worker cannot load what it evaluates with: {describe_exception(error)}"
        ) from error


def check_travels(value: object, name: str) -> None:
    """Raise `UsageError` for what cannot travel to Ray workers, called `name`: it is pickled here,
    and unpickled in another process."""
    try:
        packed = pack(value)
    except Exception as error:
        raise UsageError(
            f"{name} cannot be pickled for Ray workers ({describe_failure(error)}); workers=0 "
            "evaluates in this process"
        ) from error
    done = subprocess.run(
        [sys.executable, "-c", _UNPACK],
        input=cloudpickle.dumps(packed),
        capture_output=True,
        check=False,
    )
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        reason = said[-1].partition("WorkFailed: ")[2] or said[-1] if said else "without a word"
        raise UsageError(
            f"{name} cannot be unpickled in a worker process, which ended with "
            f"{done.returncode}: {single_line(reason)}; workers=0 evaluates in this process"
        )
