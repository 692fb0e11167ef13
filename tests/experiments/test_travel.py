"""What travels to the workers arrives there, or is refused before there is a folder."""

import subprocess
import sys

import pytest

from mnas_search.common import plugins
from mnas_search.common.errors import UsageError
from mnas_search.evaluators.function import as_evaluator
from mnas_search.experiments.runners.travel import check_travels, pack

UNPACK = """
import pickle, sys
from mnas_search.experiments.runners.travel import unpack
evaluator = unpack(pickle.load(sys.stdin.buffer))
from mnas_search.architecture.published import architecture
print(next(iter(evaluator.evaluate(architecture("mnasnet_a1"), seed=0))).accuracy)
"""

LOCKED = """
import threading
lock = threading.Lock()
def score(a):
    with lock: return 0.5
"""


@pytest.fixture
def load(tmp_path):
    """Write a plug-in with a module beside it, and load its `score`."""

    def loaded(text):
        (tmp_path / "beside_a_travelling_file.py").write_text("def value(): return 0.25\n")
        (tmp_path / "mine.py").write_text(text)
        return as_evaluator(plugins.load("evaluators", f"{tmp_path / 'mine.py'}:score"), data=None)

    before = list(sys.path)
    yield loaded
    sys.path[:] = before
    sys.modules.pop("beside_a_travelling_file", None)


@pytest.mark.parametrize(
    "text",
    [
        "import beside_a_travelling_file as b\ndef score(a): return b.value()\n",
        "from beside_a_travelling_file import value\ndef score(a): return value()\n",
        "def score(a):\n    import beside_a_travelling_file as b\n    return b.value()\n",
    ],
)
def test_modules_beside_a_file_travel(load, tmp_path, text):
    from ray import cloudpickle

    evaluator = load(text)
    check_travels(evaluator, "mine")
    content = cloudpickle.dumps(pack(evaluator))
    if not text.startswith("def"):  # a machine without the folder
        (tmp_path / "beside_a_travelling_file.py").unlink()
    done = subprocess.run([sys.executable, "-c", UNPACK], input=content, capture_output=True)
    assert done.stdout.strip() == b"0.25", done.stderr.decode()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            LOCKED,
            "cannot be pickled for Ray workers (TypeError: cannot pickle '_thread.lock'",
        ),
        (
            "def here(): raise OSError('not in a worker')\n"
            "class Score:\n"
            "    def __call__(self, a): return 0.5\n"
            "    def __reduce__(self): return here, ()\n"
            "score = Score()\n",
            "cannot be unpickled in a worker process, which ended with 1: a worker cannot load",
        ),
        (
            "def leave(): exit(0)\n"
            "class Score:\n"
            "    def __call__(self, a): return 0.5\n"
            "    def __reduce__(self): return leave, ()\n"
            "score = Score()\n",
            "SystemExit: 0",
        ),
    ],
)
def test_what_cannot_travel_is_refused(load, text, reason):
    with pytest.raises(UsageError) as caught:
        check_travels(load(text), "evaluator 'mine'")
    assert reason in str(caught.value) and "workers=0" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_lock_is_refused_before_there_is_a_folder(run_cli, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(LOCKED)
    words = ("run", "--target-flops", "400M", "--trials", 2, "--output", tmp_path / "run")
    code, _, err = run_cli(*words, "--evaluator", f"{file}:score", "--workers", 1)
    assert code == 2 and "cannot be pickled for Ray workers" in err
    assert not (tmp_path / "run").exists()
    assert run_cli(*words, "--evaluator", f"{file}:score", "--workers", 0)[0] == 0
