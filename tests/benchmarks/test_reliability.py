"""`bench reliability`: what it counts, and a short run of each part."""

import json

import numpy as np
import pytest

from mnas_search.benchmarks.reliability import erring, flips, fuzz, growth, plugin_errors
from mnas_search.benchmarks.reliability.calling import Called, call


def test_commands_are_called_in_this_process():
    assert call("list", "spaces", "--format", "json").code == 0
    assert call("profile", "nothing").is_refusal
    assert not Called(code=1, out="", err="error: it failed\n").is_refusal
    assert Called(code=None, out="", err="").has_traceback


def test_damages_flip_one_bit_or_cut():
    content, rng = bytes(range(50)), np.random.default_rng(0)
    cuts = 0
    for _ in range(200):
        damage = flips.draw_damage(content, rng)
        changed = damage.of(content)
        if len(changed) < len(content):
            cuts += 1
            assert content.startswith(changed) and f"cut to {len(changed)} bytes" == damage.text
        else:
            bits = [(a ^ b).bit_count() for a, b in zip(content, changed, strict=True)]
            assert sum(bits) == 1 and damage.text.endswith("flipped")
    assert 25 < cuts < 75


@pytest.fixture(scope="module")
def subjects(tmp_path_factory):
    """A place with a run and trainings, and their files."""
    place = tmp_path_factory.mktemp("flips")
    targets = flips.make_targets(place / "work")
    flips.shutil.copytree(place / "work", place / "kept")
    return place, targets


def of(targets, name):
    return next(target for target in targets if str(target.file).endswith(name))


def test_a_changed_number_of_the_winner_is_refused(subjects, monkeypatch):
    """What would have passed without checksums."""
    place, targets = subjects
    target = of(targets, "run/best.json")
    wanted = flips._results(target, place)
    content = target.file.read_bytes()
    place_of_digit = content.index(b'"macs": ') + len(b'"macs": ')
    damage = flips.Damage(bit=8 * place_of_digit, cut=None)
    assert flips.try_damage(target, damage, wanted, place) == ("refused", "")
    assert target.file.read_bytes() == content
    # A file without a checksum is believed: the figure is another one, and this is seen.
    value = json.loads(content)
    del value["checksum"]
    text = json.dumps(value).encode()
    monkeypatch.setattr(
        flips.Damage, "of", lambda self, kept: text.replace(b'"macs": ', b'"macs": 1')
    )
    verdict, said = flips.try_damage(target, damage, wanted, place)
    assert verdict == "another result" and said.startswith("compare")


@pytest.mark.parametrize("count", [40, pytest.param(1_000, marks=pytest.mark.full)])
def test_damaged_files_are_refused_or_give_the_same_result(subjects, count, monkeypatch):
    place, targets = subjects
    outcome = flips.try_damages(place, targets, count=count, seed=count, note=lambda line: None)
    assert outcome.failures == ()
    assert sum(row["refused"] + row["same result"] for row in outcome.records) == count


@pytest.mark.parametrize(
    ("called", "verdict"),
    [
        (Called(code=0, out="[]", err=""), "done"),
        (Called(code=0, out="", err=""), "silent end"),
        (Called(code=0, out="printed\n[]", err=""), "no JSON"),
        (Called(code=1, out="", err="error: it failed"), "failed"),
        (Called(code=1, out="", err="error: "), "silent end"),
        (Called(code=1, out="", err="error: unexpected error: KeyError: 'x'"), "unexpected"),
        (Called(code=2, out="", err="usage"), "silent end"),
        (Called(code=3, out="", err="error: it failed"), "exit code"),
        (Called(code=None, out="", err=""), "traceback"),
        (Called(code=1, out="", err="Traceback (most recent call last)\nerror: no"), "traceback"),
    ],
)
def test_how_a_command_has_ended(called, verdict):
    assert fuzz.judge(("evaluate", "--format", "json"), called) == verdict


def test_plug_ins_err_where_they_say(tmp_path):
    places = set()
    for number in range(200):
        plugin_errors.draw(np.random.default_rng(number), tmp_path, tmp_path)
    for file in tmp_path.glob("*.py"):
        line = next(
            x for x in file.read_text().splitlines() if x.startswith("PLACE, TIME, ACTION")
        )
        places.add(line.split('"')[1])
        file.unlink()
    assert len(places) > 20 and erring.PLACE not in places
    assert all(f'_errs("{place}")' in plugin_errors.SOURCE for place in places)


def test_wrong_inputs_end_with_a_word():
    outcome = fuzz.run(count=24, seed=0, note=lambda text: None)
    assert outcome.failures == ()
    assert sum(sum(v for v in r.values() if isinstance(v, int)) for r in outcome.records) == 24


@pytest.mark.full
def test_many_wrong_inputs_end_with_a_word():
    outcome = fuzz.run(count=600, seed=1, note=print)
    assert outcome.failures == ()


def test_a_long_search_resumes_with_the_same_proposal():
    outcome = growth.run(
        count=30, seed=0, note=lambda line: None, controllers=["nsga2", "random_search"]
    )
    assert outcome.failures == ()
    assert [record["controller"] for record in outcome.records] == ["nsga2", "random_search"]
    assert all(record["ms an ask at 30"] > 0 for record in outcome.records)
