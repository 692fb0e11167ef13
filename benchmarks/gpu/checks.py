"""The tests marked `gpu`, in a process of their own."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from mnas_search.benchmarks.gpu.work import Row, Work
from mnas_search.common.errors import WorkFailed

_MARK = "pytest.mark.gpu"
_SHOWN = 2_000  # characters of what went wrong


def run(work: Work) -> Iterator[Row]:
    """Yield a row for all tests, then one for each that was not skipped.

    Raises:
        WorkFailed: there are no tests, or one failed.
    """
    # Other tests may need packages that are not there.
    files = [str(f) for f in sorted(work.tests.rglob("test_*.py")) if _MARK in f.read_text()]
    if not files:
        raise WorkFailed(f"no test in {work.tests} is marked gpu")
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        # -P: the folder of the tests may hold a source tree that is not the installed package.
        command = [sys.executable, "-P", "-m", "pytest", "-m", "gpu", "-q", *files]
        command += ["-p", "no:cacheprovider", "-W", "default", f"--junitxml={report}"]
        done = subprocess.run(
            command, cwd=work.tests.parent, capture_output=True, text=True, check=False
        )
        if not report.exists():
            raise WorkFailed(f"pytest failed: {(done.stdout + done.stderr)[-_SHOWN:]}")
        cases = list(ElementTree.parse(report).getroot().iter("testcase"))
    outcomes = [_outcome(case) for case in cases]
    counts = {name: outcomes.count(name) for name in dict.fromkeys(outcomes)}
    yield {"tests": len(cases), **counts}
    for case, outcome in zip(cases, outcomes, strict=True):
        if outcome == "skipped":
            continue
        text = "".join(child.text or "" for child in case)[-_SHOWN:] if outcome != "passed" else ""
        row: Row = {"test": case.get("name"), "outcome": outcome, "seconds": case.get("time")}
        yield row | ({"text": text} if text else {})
    if failed := outcomes.count("failure") + outcomes.count("error"):
        raise WorkFailed(f"{failed} of {len(cases)} tests failed")


def _outcome(case: ElementTree.Element) -> str:
    found = {child.tag for child in case}
    return next((tag for tag in ("failure", "error", "skipped") if tag in found), "passed")
