"""The one mechanism of experiments: formats of config.json, the list of a run's options."""

import json
from dataclasses import fields

import pytest

from mnas_search import search
from mnas_search.common.errors import DamagedFile, RunFolderError, UsageError
from mnas_search.common.files import read_json, write_json
from mnas_search.common.folders import FORMAT, read_record, read_training
from mnas_search.experiments.experiment import Experiment, ExperimentKind
from mnas_search.experiments.fit.session import PLAN, read_plan
from mnas_search.experiments.search.options import RunConfig, RunOptions, run_options
from mnas_search.experiments.search.recommendation import (
    Recommendation,
    read_recommended,
    write_recommended,
)

KIND = ExperimentKind(command="toy", noun="toy", parent="toys", may_grow=("trials", "proxies"))
CONFIG = {"seed": 0, "trials": 4, "proxies": ["a"], "workers": 2, "data_sha256": "1" * 64}


def test_an_experiment_is_made_and_resumed_with_larger_budgets(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    experiment = Experiment(KIND, None)
    folder = experiment.make(CONFIG, "stem", {"beside.txt": "text"})
    assert folder == tmp_path / "toys" / "stem-1" and (folder / "beside.txt").read_text() == "text"
    with experiment.session(CONFIG) as journal:
        journal.append({"event": "first"})
        with pytest.raises(RunFolderError, match="in use"), experiment.session(CONFIG):
            pass
    grown = {**CONFIG, "trials": 5, "proxies": ["a", "b"], "workers": 7}
    again = Experiment(KIND, folder)
    assert again.resumed and again.make(grown, "other") == folder
    with again.session(grown) as journal:
        assert [event["event"] for event in journal.events] == ["first"]
    assert read_record(folder).config == grown
    assert json.loads((folder / "config.json").read_text())["format"] == FORMAT


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"seed": 1}, "toys/stem-1', got 1"),
        ({"trials": 3}, "trials must be 4 or more to resume"),
        ({"proxies": ["b"]}, "proxies must be ['a'] or more"),
        ({"data_sha256": "2" * 64}, "'data' has changed since the toy '"),
    ],
)
def test_another_configuration_is_refused_by_name(tmp_path, monkeypatch, change, says):
    monkeypatch.chdir(tmp_path)
    folder = Experiment(KIND, None).make(CONFIG, "stem")
    before = (folder / "config.json").read_bytes()
    with pytest.raises(RunFolderError) as caught:
        Experiment(KIND, folder).make({**CONFIG, **change}, "stem")
    assert says in str(caught.value)
    assert (folder / "config.json").read_bytes() == before


def test_a_folder_of_another_command_or_a_later_format_is_refused_in_one_line(tmp_path):
    folder = Experiment(KIND, tmp_path / "toy").make(CONFIG, "")
    other = ExperimentKind(command="other", noun="other", parent="others")
    with pytest.raises(RunFolderError, match="holds a `toy`, not a `other`"):
        Experiment(other, folder)
    value = read_json(folder / "config.json")
    (folder / "config.json").write_text(json.dumps({**value, "format": FORMAT + 1}))
    with pytest.raises(RunFolderError, match=f"1 or {FORMAT}, got {FORMAT + 1}: the folder"):
        Experiment(KIND, folder)


@pytest.mark.parametrize(
    ("value", "command"),
    [
        ({"config": {"seed": 1}}, "run"),
        ({"training": {"seed": 1}}, "train"),
        ({"config": {"command": "fidelity", "seed": 1, "sha256": {"data": "0"}}}, "fidelity"),
    ],
)
def test_folders_of_format_1_are_read(tmp_path, value, command):
    (tmp_path / "config.json").write_text(json.dumps({**value, "versions": {"torch": "2"}}))
    record = read_record(tmp_path)
    hashes = {"data_sha256": "0"} if command == "fidelity" else {}
    assert (record.command, record.config) == (command, {"seed": 1, **hashes})
    assert record.versions == {"torch": "2"}
    assert (read_training(tmp_path) is not None) == (command == "train")


def test_a_run_of_format_1_is_resumed(run_cli, tmp_path):
    folder = tmp_path / "run"
    options = ("--target-flops", "400M", "--controller", "random_search", "--workers", 0)
    evaluator = tmp_path / "mine.py"
    evaluator.write_text("def score(network):\n    return 0.5\n")
    options = (*options, "--evaluator", f"{evaluator}:score", "--trials", 2)
    assert run_cli("run", *options, "--output", folder)[0] == 0
    value = json.loads((folder / "config.json").read_text())
    old = {name: value[name] for name in ("config", "versions")}
    (folder / "config.json").write_text(json.dumps(old))
    code, _, err = run_cli("resume", folder, "--trials", 3)
    assert code == 0, err
    assert json.loads((folder / "config.json").read_text())["format"] == FORMAT


def test_the_options_of_a_run_stand_once(run_cli):
    names = [field.name for field in fields(RunConfig)]
    assert list(RunOptions.__annotations__) == names[1:]
    code, out, _ = run_cli("run", "--help")
    assert code == 0
    for name, _, _, option in run_options():
        assert f"--{name.replace('_', '-')} " in out
        assert option.help.split()[0] in out
        assert f"{name}: {option.help}" in search.__doc__


def test_quantities_are_numbers_or_texts():
    config = RunConfig.parsed({"target_flops": "400M", "max_memory": "20M", "time_budget": 60})
    assert (config.target_flops, config.max_memory, config.time_budget) == (4e8, 2e7, 60.0)
    with pytest.raises(UsageError, match="lite must be True or False, got 'no'"):
        search("400M", lite="no")
    with pytest.raises(UsageError, match="trials must be a whole number of 1 or more, got '48'"):
        search("400M", trials="48")


def test_damaged_files_of_experiments_are_refused_and_not_passed_over(tmp_path):
    """Files of others that cannot be read may count as missing; ours must not."""
    folder = Experiment(KIND, tmp_path / "toy").make(CONFIG, "")
    plan = write_json(folder / PLAN, {"trials": 24})
    best = write_recommended(
        Recommendation(name="a", source="winner", architecture=None, validation=0.5), folder
    )
    for file, read in (
        (folder / "config.json", read_record),
        (folder / "config.json", read_training),
        (plan, read_plan),
        (best, read_recommended),
        (folder / "config.json", lambda folder: Experiment(KIND, folder)),
    ):
        whole = file.read_text()
        file.write_text(whole.replace("0.5", "0.9").replace("24", "25").replace('": 4', '": 5'))
        with pytest.raises(DamagedFile, match=f"{file.name}' is damaged or was edited"):
            read(folder)
        file.write_text(whole)
