"""Trainings that become shorter on their way: the schedule, and the weights."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mnas_search.data import digits
from mnas_search.training import loop
from mnas_search.training.recipe import Recipe
from mnas_search.training.schedules import Cosine, ExponentialDecay, Length, Triangular

SCHEDULES = (Triangular(), Cosine(), Cosine(warmup=0), ExponentialDecay())


@st.composite
def lengths(draw, most=4):
    length = Length(planned=draw(st.integers(2, 40)), per_epoch=draw(st.integers(5, 60)))
    for _ in range(draw(st.integers(1, most))):
        since = length.changes[-1][0] if length.changes else 0
        if length.steps - since < 3:
            break
        step = draw(st.integers(since, length.steps - 2))
        length = length.shortened(step, draw(st.integers(step + 1, length.steps - 1)))
    return length


def factors(schedule, length):
    positions = [length.position(step) for step in range(length.steps)]
    return [schedule(at, steps=steps, epochs=length.planned) for at, steps in positions]


@given(planned=st.integers(1, 400), per_epoch=st.integers(1, 400), share=st.floats(0, 1))
def test_without_changes_nothing_changes(planned, per_epoch, share):
    length = Length(planned=planned, per_epoch=per_epoch)
    step = min(int(share * length.steps), length.steps - 1)
    assert length.position(step) == (step, planned * per_epoch)
    for schedule in SCHEDULES:
        at, steps = length.position(step)
        same = schedule(step, steps=planned * per_epoch, epochs=planned)
        assert schedule(at, steps=steps, epochs=planned) == same  # bit for bit


@given(length=lengths())
def test_progress_is_continuous_and_ends_with_the_last_step(length):
    progress = [at / steps for at, steps in map(length.position, range(length.steps))]
    at, steps = length.position(length.steps - 1)
    assert progress[0] == 0 or length.changes[0][0] == 0
    assert at + 1 == pytest.approx(steps)
    paces = [1 / steps for _, steps in map(length.position, range(length.steps))]
    for (one, two), pace in zip(pairwise(progress), paces, strict=False):
        assert two - one == pytest.approx(pace, rel=1e-6)  # no jump, also where the pace changes
    assert all(two >= one * (1 - 1e-9) for one, two in pairwise(paces))


@given(length=lengths())
def test_the_learning_rate_is_continuous_and_ends_as_that_of_a_training_as_fast(length):
    smooth = Cosine(warmup=0.1)
    found = factors(smooth, length)
    steepest = 10.0  # of the warm-up, by progress
    paces = [1 / length.position(step)[1] for step in range(length.steps)]
    for (one, two), pace in zip(pairwise(found), paces[1:], strict=True):
        assert abs(two - one) <= steepest * pace + 1e-9
    for schedule in SCHEDULES:
        values = factors(schedule, length)
        assert all(0 <= value <= 1 for value in values)
        _, steps = length.position(length.steps - 1)
        end = schedule(steps - 1, steps=steps, epochs=length.planned)
        assert values[-1] == pytest.approx(end, rel=1e-6, abs=1e-9)


def test_a_rate_that_comes_down_from_the_middle_by_hand():
    """100 steps, of which 40 are done; the other 60 become 20: three times as fast."""
    length = Length(planned=10, per_epoch=10).shortened(40, 60)
    found = factors(Cosine(warmup=0), length)
    whole = factors(Cosine(warmup=0), Length(planned=10, per_epoch=10))
    assert found[:40] == whole[:40]
    assert found[40:] == pytest.approx(whole[41::3])  # the middle of every three steps
    assert found[-1] < 0.01


@pytest.mark.parametrize(
    ("step", "steps"), [(20, 20), (20, 19), (20, 100), (20, 101), (-1, 50), (10, 50)]
)
def test_what_is_no_shorter_length_is_refused(step, steps):
    length = Length(planned=10, per_epoch=12).shortened(15, 100)
    with pytest.raises(ValueError, match="cannot become"):
        length.shortened(step, steps)
    assert length.shortened(20, 99).epochs == 9  # the last of three steps


def test_a_training_ends_within_an_epoch_and_repeats_its_changes():
    split = digits().train.part(0.2)
    data = loop.Images(split, resolution=8, normalisation=loop.normalisation(split), flips=False)
    recipe = Recipe(epochs=6, batch_size=32, ema_decay=0.9, schedule=Cosine())

    def training():
        torch.manual_seed(0)
        network = torch.nn.Sequential(
            torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.Flatten(),
            torch.nn.Dropout(0.2), torch.nn.Linear(288, 10),
        )  # fmt: skip
        return loop.Training(network, data, recipe, seed=1)

    changed = training()
    per_epoch = changed.length.per_epoch
    seen, rates = [], []

    def after_step(steps):
        seen.append(steps)
        rates.append(changed.learning_rate)
        if steps == per_epoch + 2:  # within the second epoch
            changed.length = changed.length.shortened(steps, 3 * per_epoch + 3)

    losses = []
    while not changed.finished:
        losses.append(changed.train_epoch(after_step))
        state = changed.state()
    assert seen == list(range(1, 3 * per_epoch + 4))
    assert len(losses) == state["epoch"] == 4 and losses[3] < losses[0]
    assert rates == [recipe.peak(32) * one for one in factors(Cosine(), changed.length)]
    assert rates[-1] < 0.01 * max(rates)
    repeated = training()
    repeated.length = changed.length  # recorded before its first step
    repeated.train_epoch()
    again = training()
    again.length = changed.length
    again.restore(repeated.state())
    assert [again.train_epoch() for _ in range(3)] == losses[1:]
    assert again.finished
    for one, two in ((changed.network, again.network), (changed.evaluated, again.evaluated)):
        ours, theirs = one.state_dict(), two.state_dict()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_length_counts_the_epochs_of_the_recipe():
    length = Length(planned=39, per_epoch=62)
    assert (length.steps, length.epochs) == (39 * 62, 39)
    assert replace(length, changes=((62, 31 * 62),)).epochs == 31
