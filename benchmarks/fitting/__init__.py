"""`fit` beside other uses of the same time: `mnas-search bench fit`.

Every arm is a whole fit, of the same data, target and time, with the same seeds. It differs in
which network is trained in the end:

    recommended   what `fit` recommends
    winner        the winner of a search, which takes place however short the time
    random        the same, by random search
    NAME          a baseline within the target, trained for the whole time

All are tested on the whole test split, image by image, so that differences are paired: by seeds,
and by images.

    fits     the arms, carried out and kept
    report   accuracies and differences, with intervals
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from mnas_search.benchmarks import tasks_over_processes
from mnas_search.benchmarks.fitting import fits, report
from mnas_search.benchmarks.fitting.fits import ARMS
from mnas_search.benchmarks.results import Outcome, conditions, write_files
from mnas_search.common.errors import UsageError
from mnas_search.experiments.fit.clock import FitListener
from mnas_search.experiments.fit.config import FitConfig

__all__ = ["ARMS", "Outcome", "run"]


def run(
    base: FitConfig,
    *,
    results: Path,
    seeds: int = 3,
    arms: Sequence[str] = ARMS,
    report_only: bool = False,
    listener: Callable[[], FitListener] = FitListener,
    note: Callable[[str], None] = lambda line: None,
) -> Outcome:
    """Carry out the fits that `results` lacks, one after the other, and write the report there.

    An interrupted fit is resumed; the time that it had counts.

    Args:
        base: data, target, time and everything else that the arms have in common.
        results: the folder.
        seeds: number of seeds, from `base.seed` on.
        arms: names, of `ARMS` or of baselines.
        report_only: take the fits that are there.
        listener: makes what follows a fit.
        note: receives lines about progress.
    """
    wanted = fits.make_arms(base, seeds, arms)
    missing = [arm for arm in wanted if fits.read(arm, results) is None]
    failures: list[str] = []
    if not report_only:
        failures = tasks_over_processes.compute(
            partial(fits.carry_out, results=results, listener=listener),
            missing,
            processes=1,
            unit="fits",
            describe=lambda arm: arm.text,
            note=note,
            keep=partial(fits.write, results=results),
        )
    found = {arm: fitted for arm in wanted if (fitted := fits.read(arm, results)) is not None}
    if not found:
        raise UsageError(
            f"no fits in {str(results)!r}" + "".join(f"; {line}" for line in failures[:1])
        )
    rows = list(report.rows({(arm.name, arm.config.seed): one for arm, one in found.items()}))
    records = [row.record for row in rows]
    content = {"options": base.to_dict(), "conditions": conditions("torch"), "records": records}
    return Outcome(
        records=records,
        table=[row.text for row in rows],
        files=write_files(
            results, {"results.json": content, "results.csv": report.to_csv(records)}
        ),
        failures=tuple(failures),
    )
