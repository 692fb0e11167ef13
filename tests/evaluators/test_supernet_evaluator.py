"""The evaluator `supernet`."""

import json
import logging
import math
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
from listed_spaces import Listed, stage

from mnas_search.architecture.cost.count import cost
from mnas_search.common import plugins
from mnas_search.common.errors import UsageError
from mnas_search.common.files import waiting_lock
from mnas_search.evaluators.supernet import SupernetReadings
from mnas_search.nas.evaluator import SupportsSpace, for_space
from mnas_search.nas.space.contract import first_network
from mnas_search.testing import EvaluatorContract
from mnas_search.testing.toy import ToySpace

SHORT = "steps=4,batch_size=16,reading_images=50"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MNAS_SEARCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "supernets"


def made(proxy=SHORT):
    return for_space(SupernetReadings(proxy=proxy), ToySpace())


def reading(evaluator, network=None):
    (found,) = evaluator.evaluate(network or first_network(ToySpace()), seed=0)
    return found


class TestSupernet(EvaluatorContract):
    @pytest.fixture
    def evaluator(self):
        return made()

    @pytest.fixture
    def network(self):
        return first_network(ToySpace())


def test_it_is_found_by_name_and_is_given_its_space():
    assert plugins.load("evaluators", "supernet") is SupernetReadings
    assert isinstance(SupernetReadings(), SupportsSpace)
    with pytest.raises(UsageError, match="'supernet' requires a search space"):
        reading(SupernetReadings(proxy=SHORT))


def test_the_figure_is_exp_of_minus_the_cross_entropy():
    found = reading(made())
    assert found.accuracy == math.exp(-found.info["cross_entropy"])
    assert 0 < found.accuracy < 1
    assert 0 <= found.info["accuracy"] <= 1
    assert found.info["accuracy"] * 50 == pytest.approx(round(found.info["accuracy"] * 50))
    assert "exp(-cross-entropy)" in made().label
    (caveat,) = made().caveats(first_network(ToySpace()))
    assert "not accuracies" in caveat and "4 steps of 16 images" in caveat


def trainings(caplog):
    return sum("supernet: step 0 " in record.message for record in caplog.records)


def test_one_supernet_serves_all_workers_and_later_runs(caplog, cache):
    caplog.set_level(logging.INFO)
    workers = [pickle.loads(pickle.dumps(made())) for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(reading, workers))
    assert trainings(caplog) == 1
    assert found == [reading(made())] * 3
    assert trainings(caplog) == 1
    assert [file.suffix for file in sorted(cache.iterdir())] == [".lock", ".pt"]
    assert reading(made(f"{SHORT},fold=1")) != found[0]
    assert trainings(caplog) == 2


def test_without_a_cache_folder_it_trains_in_memory(caplog, tmp_path, monkeypatch):
    one = reading(made())
    (tmp_path / "file").touch()
    monkeypatch.setenv("MNAS_SEARCH_CACHE", str(tmp_path / "file"))
    caplog.set_level(logging.INFO)
    evaluator = made()
    assert "no cache folder" in caplog.text
    assert [reading(evaluator), reading(evaluator)] == [one, one]
    assert trainings(caplog) == 1


def test_spaces_that_it_cannot_rank_are_refused_at_once():
    with pytest.raises(UsageError, match=r"width must keep the options of s0\.width apart"):
        made("divisor=8")


def test_a_network_of_another_space_is_refused():
    other = first_network(Listed((stage("ir", 3, 2, 8),), (stage("ir", 3, 2, 8),)))
    with pytest.raises(UsageError, match="architecture must be of the supernet's space"):
        reading(made(), other)


def test_images_are_at_most_as_large_as_the_deployment_and_32_pixels():
    assert SupernetReadings(deployment=224).recipe.resolution == 8  # the data's own
    assert SupernetReadings(deployment=6).recipe.resolution == 6
    assert SupernetReadings(proxy="resolution=12").recipe.resolution == 12


def test_a_damaged_supernet_is_trained_again_to_the_same(cache):
    before = reading(made())
    (file,) = cache.glob("*.pt")
    whole = file.read_bytes()
    for damaged in (whole[: len(whole) // 3], whole[:-5_000] + bytes(100) + whole[-4_900:]):
        file.write_bytes(damaged)
        assert reading(made()) == before
        assert file.stat().st_size == len(whole)


def test_a_lock_is_waited_for(tmp_path):
    order = []

    def hold(number):
        with waiting_lock(tmp_path / "lock"):
            order.append(number)
            order.append(number)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(hold, range(4)))
    assert sorted(order[::2]) == [0, 1, 2, 3] and order[::2] == order[1::2]


def test_a_search_by_readings(run_cli, tmp_path):
    """Its tables and its journal say what the figures are."""
    folder = tmp_path / "run"
    code, out, err = run_cli(
        *("run", "--target-flops", "200M", "--evaluator", "supernet", "--data", "digits"),
        *("--proxy", SHORT, "--trials", 3, "--workers", 0, "--controller", "random_search"),
        *("--output", folder),
    )
    assert code == 0, err
    assert " of 3, exp(-cross-entropy) 0." in out
    events = [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]
    told = [event for event in events if event["event"] == "tell"]
    assert len(told) == 3
    assert len({event["accuracy"] for event in told}) == 3
    page = (folder / "report.html").read_text()
    assert "exp(-cross-entropy)" in page and "they rank networks" in page


# -- as the members of a prior -------------------------------------------------------------------


def near(network):
    return cost(network).macs < 4e5


def member(folder, index=0, *, steps=4, seed=7):
    return made().prior_member(
        index, 2, steps=steps, seed=seed, checkpoint=folder / f"{index}.pt", allows=near
    )


def test_members_differ_in_seed_and_in_the_images_that_they_read(tmp_path):
    one, two = member(tmp_path), member(tmp_path, 1, seed=8)
    for other in (one, two):
        assert list(other.train()) == [1, 2, 3, 4]
    assert reading(one) != reading(two)
    assert (one.recipe.fold, two.recipe.fold) == (0, 1)
    assert not set(tmp_path.glob("cache/supernets/*.pt"))


def test_a_member_continues_from_its_checkpoint_in_another_process(tmp_path):
    whole, folder = tmp_path / "whole", tmp_path / "cut"
    for one in (whole, folder):
        one.mkdir()
    expected = member(whole)
    list(expected.train())
    steps = member(folder).train()
    assert [next(steps), next(steps)] == [1, 2]
    steps.close()
    other = pickle.loads(pickle.dumps(member(folder)))
    assert list(other.train()) == [2, 3, 4]
    reader = pickle.loads(pickle.dumps(member(folder)))  # a worker that trained nothing
    assert reading(expected) == reading(other) == reading(reader)


def test_a_member_draws_networks_near_the_target_alone(tmp_path):
    with pytest.raises(UsageError, match="networks near the target"):
        list(
            made()
            .prior_member(
                0, 2, steps=1, seed=0, checkpoint=tmp_path / "0.pt", allows=lambda network: False
            )
            .train()
        )


def test_steps_and_readings_are_measured():
    found = made().measure_prior(near)
    assert 0 < found.reading < 60 and 0 < found.step < 60
    assert found.max_steps > 100
