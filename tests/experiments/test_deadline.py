"""Trainings with a deadline: on a machine that becomes slower they end in time, and a killed one
repeats what was decided."""

import json
import math
import os
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as processes
from hypothesis import example, given
from hypothesis import strategies as st
from killing import Killed, killed_before_file

from mnas_search.architecture.value import Architecture
from mnas_search.common.errors import RunFolderError
from mnas_search.data import digits
from mnas_search.data.preprocessing import Preprocessing
from mnas_search.experiments.listener import Listener
from mnas_search.experiments.training import checkpoints, session
from mnas_search.experiments.training import deadline as module
from mnas_search.experiments.training.deadline import (
    LATE,
    RECENT,
    SHORTENED,
    Deadline,
    Pace,
    read_length,
    recent_pace,
)
from mnas_search.experiments.training.epochs import FullTraining, train_epochs
from mnas_search.experiments.training.settings import TrainingConfig
from mnas_search.nas.journal import Journal
from mnas_search.training import loop, recipes
from mnas_search.training.recipe import Recipe
from mnas_search.training.schedules import Cosine, Length
from mnas_search.training.worker_context import WorkerContext

NETWORK = "ds_r1_k3_s1_e1_c8"
TIME = 100.0


class Clock:
    """The time of a machine on which other work begins after 40 seconds: from then on, a step
    takes two seconds in the place of one."""

    def __init__(self, slower=2.0):
        self.now, self.slower = 0.0, slower

    def monotonic(self):
        return self.now

    def pass_step(self):
        self.now += 1.0 if self.now < 40.0 else self.slower


@dataclass
class Step:
    """An augmentation that changes no image: its step takes time, or is that of a kill."""

    clock: Clock
    killed: int = -1
    count: int = 0
    mirrors = False

    def __call__(self, images, generator):
        if self.count == self.killed:
            raise Killed
        self.count += 1
        self.clock.pass_step()
        return images


def job(*augmentations, epochs=18):
    """A training of five steps an epoch."""
    data = digits()
    images = loop.normalisation(data.train)
    architecture = Architecture.from_block_string(NETWORK)
    return FullTraining(
        architecture=replace(architecture, resolution=8, num_classes=10, head_channels=32),
        data=replace(data, train=data.train.part(0.3), validation=data.validation.part(0.3)),
        recipe=Recipe(
            epochs=epochs,
            batch_size=64,
            schedule=Cosine(),
            ema_decay=0.99,
            augmentations=augmentations,
        ),
        preprocessing=Preprocessing(mean=images.mean, std=images.std, size=8),
        seed=0,
    )


def deadline(clock_end=TIME, **changes):
    return replace(Deadline(end=clock_end, time=TIME, epoch=5.0, following=2.0), **changes)


@pytest.fixture
def clock(monkeypatch):
    one = Clock()
    monkeypatch.setattr(module, "time", one)
    return one


def untimed(folder):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in lines]


def assert_same_training(one, two):
    assert untimed(one) == untimed(two)
    for name in (checkpoints.LAST, checkpoints.BEST):
        mine, other = checkpoints.read(one / name), checkpoints.read(two / name)
        for ours, theirs in (
            (mine.weights, other.weights),
            (mine.training["network"], other.training["network"]),
        ):
            assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def changes(folder):
    lines = (folder / SHORTENED).read_text().splitlines()
    return [json.loads(line) for line in lines]


def repeated(folder, other):
    """Repeat a training with what its folder says of its length, and no deadline."""
    other.mkdir()
    shutil.copy(folder / SHORTENED, other)
    train_epochs(job(Step(Clock())), other, device="cpu")
    return other


# -- when ------------------------------------------------------------------------------------


def simulate(*, epochs, per_epoch, rest, begin, slow_at, slower, steps_by_pace=1.0):
    """Return when all ends that is planned to end with 96 % of the time, and the changes."""
    following = 2.0
    epoch = (0.96 * TIME - begin - following) / epochs
    one = deadline(epoch=epoch, following=following)
    length = Length(planned=epochs, per_epoch=per_epoch)
    step = steps_by_pace * epoch * (1 - rest) / per_epoch
    now, parts, last_rest, since, last = begin, [], 0.0, begin, 0
    lengths = []

    def after(seconds):
        before = max(0.0, min(seconds, slow_at - now))
        return now + before + (seconds - before) * slower

    done = 0
    while done < length.steps:
        now, done = after(step), done + 1
        if done % per_epoch % one.interval(length) == 0:
            parts.append((now - since, done - last))
            since, last = now, done
            pace = recent_pace(parts, RECENT * TIME)
            if pace is not None:
                steps = one.steps(length, done, Pace(step=pace, rest=last_rest), TIME - now)
                assert done <= steps <= length.steps
                if steps < length.steps:
                    length = length.shortened(done, steps)
                    lengths.append(steps)
        if done % per_epoch == 0 or done == length.steps:
            before, now = now, after(steps_by_pace * epoch * rest)
            last_rest, since = now - before, now
    return after(following), lengths


@given(
    epochs=st.integers(3, 120),
    per_epoch=st.integers(30, 300),
    rest=st.floats(0.01, 0.1),
    begin=st.floats(0, 60),
    slow_at=st.floats(0, 100),
    slower=st.floats(1, 2),
)
@example(epochs=39, per_epoch=62, rest=0.08, begin=8, slow_at=70, slower=2)
def test_on_a_machine_up_to_twice_as_slow_all_ends_within_a_tenth(
    epochs, per_epoch, rest, begin, slow_at, slower
):
    end, lengths = simulate(
        epochs=epochs,
        per_epoch=per_epoch,
        rest=rest,
        begin=begin,
        slow_at=slow_at,
        slower=slower,
    )
    assert end <= 1.1 * TIME
    assert len(lengths) <= 6
    # No more is left out than the slower steps take: the time is used.
    if lengths:
        assert end >= (1 - RECENT) * TIME - 1.5 * slower * (TIME / epochs + 2)


@given(
    epochs=st.integers(20, 120),
    per_epoch=st.integers(30, 300),
    begin=st.floats(0, 60),
    slower=st.floats(2, 6),
)
def test_a_training_that_was_planned_much_too_long_ends_within_a_tenth(
    epochs, per_epoch, begin, slower
):
    """A fit counts on twice the planned seconds at most."""
    end, _ = simulate(
        epochs=epochs,
        per_epoch=per_epoch,
        rest=0.08,
        begin=begin,
        slow_at=0,
        slower=slower,
    )
    assert end <= 1.1 * TIME + (slower - 1) * 2.0  # the test and the exports are not left out


@given(
    epochs=st.integers(1, 120),
    per_epoch=st.integers(5, 100),
    pace=st.floats(0.3, 1.02),
)
def test_where_the_time_suffices_nothing_changes(epochs, per_epoch, pace):
    found = simulate(
        epochs=epochs,
        per_epoch=per_epoch,
        rest=0.08,
        begin=8.0,
        slow_at=math.inf,
        slower=1.0,
        steps_by_pace=pace,
    )
    assert found[1] == []


def test_a_short_disturbance_tells_nothing():
    parts = [(1.0, 5)] * 8 + [(9.0, 5)]
    assert recent_pace(parts, 5.0) == pytest.approx(9 / 5)  # as long as the recent past
    assert recent_pace([*parts, (1.0, 5), (1.0, 5)], 11.0) == 0.2
    assert recent_pace(parts[:4], 5.0) is None  # the first steps are no pace yet


def test_the_end_is_projected_with_what_follows_at_the_same_pace():
    length, one = Length(planned=10, per_epoch=5), deadline(following=10.0)
    pace = Pace(step=1.0, rest=1.0)
    assert pace.seconds(length, 5, 50) == 45 + 10  # the rest of the first epoch is to come
    assert pace.seconds(length, 6, 50) == 44 + 9
    assert pace.seconds(length, 6, 48) == 42 + 9  # an epoch of fewer steps has a rest, too
    assert one.slowdown(pace, length) == 6 / 5
    enough = 55 + 6 / 5 * 10
    assert one.steps(length, 5, pace, enough) == one.steps(length, 5, pace, enough - 2.9) == 50
    assert 40 < one.steps(length, 5, pace, enough - LATE * TIME - 0.1) < 50
    assert one.interval(length) == 2  # three checks in an epoch of five seconds
    assert one.steps(length, 5, pace, -50.0) == 7  # some more, in which the rate comes down
    longer = replace(one, following=40.0)  # 8 seconds longer; 5 are counted
    assert longer.steps(length, 5, pace, 55 + 45 - 2.9) == 50
    assert longer.steps(length, 5, pace, 55 + 45 - 3.1) < 50
    assert one.steps(length, 49, pace, -50.0) == one.steps(length, 50, pace, -50.0) == 50
    assert one.interval(Length(planned=10, per_epoch=500)) == 167
    assert deadline(epoch=1.9).interval(length) == 5  # a check an epoch


# -- real trainings --------------------------------------------------------------------------


def test_a_training_that_becomes_slower_ends_in_time(tmp_path, clock):
    train_epochs(job(Step(clock)), tmp_path, device="cpu", deadline=deadline())
    assert 0.9 * TIME < clock.now + 4.0 <= 1.05 * TIME
    *before, change = changes(tmp_path)
    assert len(before) <= 2  # two of three parts were slow, and then all of them
    assert change["planned"] == 90 and change["slowdown"] == 2.0
    assert 40 < change["step"] < change["steps"] < 70
    lines = untimed(tmp_path)
    assert len(lines) == math.ceil(change["steps"] / 5)
    assert lines[-1]["learning_rate"] < 0.01 * lines[0]["learning_rate"]
    for name in (checkpoints.LAST, checkpoints.BEST):
        assert checkpoints.read(tmp_path / name).history[-1].top1 <= max(x["top1"] for x in lines)
    _, why = read_length(tmp_path, job().length)
    assert why == f"the machine became slower: {change['steps'] / 5:g} of 18 epochs"


def test_a_deadline_that_holds_costs_nothing(tmp_path, clock):
    clock.slower = 1.0
    for name, limit in (("with", deadline()), ("without", None)):
        (tmp_path / name).mkdir()
        clock.now = 0.0
        train_epochs(job(Step(clock)), tmp_path / name, device="cpu", deadline=limit)
        assert not (tmp_path / name / SHORTENED).exists()
    assert_same_training(tmp_path / "with", tmp_path / "without")


@pytest.mark.parametrize("killed", [3, 44, 49, 62])
def test_killed_in_any_step_a_shortened_training_repeats_its_changes(tmp_path, clock, killed):
    folder = tmp_path / "killed"
    folder.mkdir()
    with pytest.raises(Killed):
        train_epochs(job(Step(clock, killed=killed)), folder, device="cpu", deadline=deadline())
    recorded = changes(folder) if (folder / SHORTENED).is_file() else []
    assert bool(recorded) == (killed > 40)
    checkpoints.recover(folder)
    train_epochs(job(Step(clock)), folder, device="cpu", deadline=deadline())
    assert changes(folder)[: len(recorded)] == recorded
    assert clock.now + 4.0 <= 1.1 * TIME + 10.0  # an epoch was trained twice
    assert_same_training(folder, repeated(folder, tmp_path / "repeated"))


@pytest.mark.parametrize("moment", [20, 30, 31, 32, 33])
def test_killed_between_two_files_a_shortened_training_repeats_its_changes(
    tmp_path, clock, moment
):
    folder = tmp_path / "killed"
    folder.mkdir()
    with killed_before_file(moment):
        train_epochs(job(Step(clock)), folder, device="cpu", deadline=deadline())
    checkpoints.recover(folder)
    train_epochs(job(Step(clock)), folder, device="cpu", deadline=deadline())
    assert_same_training(folder, repeated(folder, tmp_path / "repeated"))


def test_what_was_decided_is_not_measured_again(tmp_path, clock):
    """All checkpoints are lost, and the machine is even slower: the same steps follow."""
    train_epochs(job(Step(clock)), tmp_path, device="cpu", deadline=deadline())
    decided, lines = changes(tmp_path), untimed(tmp_path)
    for name in (checkpoints.LAST, checkpoints.BEST):
        (tmp_path / name).unlink()
    train_epochs(job(Step(clock)), tmp_path, device="cpu", deadline=deadline())
    now, last = changes(tmp_path), decided[-1]["step"]
    assert now[: len(decided)] == decided
    assert all(one["step"] >= last for one in now[len(decided) :])
    whole = last // 5
    assert untimed(tmp_path)[:whole] == lines[:whole]


def test_more_epochs_are_those_that_were_asked_for(tmp_path, clock):
    train_epochs(job(Step(clock)), tmp_path, device="cpu", deadline=deadline())
    assert len(untimed(tmp_path)) < 18
    train_epochs(job(Step(clock), epochs=20), tmp_path, device="cpu")
    assert len(untimed(tmp_path)) == 20
    assert read_length(tmp_path, job(epochs=20).length) == (job(epochs=20).length, None)


@pytest.mark.parametrize(
    ("steps", "slowdown", "message"),
    [
        (100, 2.0, "holds no change of a length: after 40 steps, 90 cannot become 100"),
        (40, 2.0, "holds no change of a length: after 40 steps, 90 cannot become 40"),
        (-1, 2.0, "steps must be a whole number of at least 0, got -1"),
        (50, "x", "slowdown must be a number, got 'x'"),
    ],
)
def test_lengths_that_cannot_be_are_refused_in_one_line(tmp_path, steps, slowdown, message):
    with Journal(tmp_path / SHORTENED) as journal:
        event = {"event": "shortened", "step": 40, "steps": steps, "planned": 90}
        journal.append({**event, "slowdown": slowdown})
    with pytest.raises(RunFolderError) as found:
        read_length(tmp_path, job().length)
    assert message in str(found.value) and "\n" not in str(found.value)


@dataclass
class Sleep:
    """An augmentation that changes no image and sleeps, once the training has some epochs."""

    folder: Path
    mirrors = False

    def __call__(self, images, generator):
        metrics = self.folder / "metrics.jsonl"
        done = len(metrics.read_text().splitlines()) if metrics.is_file() else 0
        time.sleep(0.15 if done >= 4 else 0.01)
        return images


def test_the_session_says_what_happened_and_keeps_its_options(tmp_path, monkeypatch):
    """Steps become slower in earnest."""
    folder = tmp_path / "training"
    slow = replace(recipes.SCRATCH, augmentations=(Sleep(folder),))
    monkeypatch.setitem(recipes.RECIPES, "scratch", slow)
    config = TrainingConfig(
        architecture=Architecture.from_block_string(NETWORK),
        recipe="scratch",
        resolution=8,
        batch_size=250,
        epochs=30,
    )
    said, shown = [], []

    class Display(Listener):
        def on_note(self, text):
            said.append(text)

        def on_progress(self, done, total, text):
            shown.append((done, total))

    # 30 epochs would take 20 s at the least, where 10 are left.
    limit = Deadline(end=time.monotonic() + 10.0, time=10.0, epoch=0.3, following=0.1)
    result = session.start(config, folder, Display(), limit)
    assert result.epochs < 30 and result.shortened == said[-1]
    assert result.shortened.startswith("the machine became slower: ")
    assert result.shortened.endswith(" of 30 epochs")
    assert shown[0] == (0, 30) and shown[-1] == (result.epochs, result.epochs)
    assert len(untimed(folder)) == result.epochs
    rates = [line["learning_rate"] for line in untimed(folder)]
    assert rates[-1] < 0.1 * max(rates)
    recorded = json.loads((folder / "config.json").read_text())["config"]
    assert recorded["epochs"] == 30
    assert session.resume(folder) == result  # it has ended
    (folder / "result.json").unlink()
    said.clear()
    again = session.resume(folder, Display())
    assert replace(again, seconds=0) == replace(result, seconds=0)
    assert f"{result.epochs} of {result.epochs} epochs were done before" in said


def test_another_machine_has_another_clock():
    from mnas_search.experiments.training.distributed import _on_this_machine

    one = deadline(time.monotonic() + 50.0)
    there = replace(one, end=one.end + 1e6)  # its clock began earlier
    moved = _on_this_machine(there, time.time(), time.monotonic() + 1e6)
    assert moved.end == pytest.approx(one.end, abs=1.0)
    assert _on_this_machine(None, time.time(), time.monotonic()) is None


def in_a_process(rank, count, folder):
    os.environ |= {"MASTER_ADDR": "127.0.0.1"}
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=count
    )
    share = WorkerContext(rank=rank, world_size=count)
    # It is late from the beginning; process 1 would have time.
    limit = Deadline(end=time.monotonic() + rank * 1e6, time=0.1, epoch=0.1, following=0.0)
    train_epochs(job(), folder / "training", device="cpu", share=share, deadline=limit)
    dist.destroy_process_group()


@pytest.mark.full
def test_all_processes_end_with_the_step_that_process_0_decides(tmp_path):
    (tmp_path / "training").mkdir()
    processes.spawn(in_a_process, (2, tmp_path), nprocs=2)
    length, _ = read_length(tmp_path / "training", job().length)
    assert length.changes
    assert len(untimed(tmp_path / "training")) == length.epochs < 18
