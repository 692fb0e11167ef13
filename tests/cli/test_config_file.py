"""Options of `run` from a file."""

import json
from pathlib import Path

import pytest
from runs import EVALUATOR

YAML = f"""
target_flops: 200M
max-memory: 1.5e9
controller: random_search
evaluator: {EVALUATOR}
trials: 3
workers: 0
start_from: [efficientnet_b0]
baseline: null
"""


def recorded(folder):
    return json.loads((folder / "config.json").read_text())["config"]


def refused(run_cli, file, *arguments):
    code, out, err = run_cli("run", "--config", file, *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    return err


def test_options_come_from_a_file_and_those_given_win(run_cli, tmp_path):
    file, folder = tmp_path / "run.yaml", tmp_path / "run"
    file.write_text(YAML + f"output: {folder}\n")
    code, _, err = run_cli("run", "--config", file, "--trials", 2, "--exponent", "-0.1")
    assert code == 0, err
    config = recorded(folder)
    assert (config["target_flops"], config["max_memory"]) == (200e6, 1.5e9)
    assert (config["trials"], config["exponent"]) == (2, -0.1)
    assert config["start_from"] == ["efficientnet_b0"]

    again = tmp_path / "again"
    code, _, err = run_cli("run", "--config", folder / "config.json", "--output", again)
    assert code == 0, err
    assert recorded(again) == config


def test_an_exponent_that_follows_from_the_objective_is_not_kept_for_another(run_cli, tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text(YAML)
    assert run_cli("run", "--config", file, "--output", tmp_path / "soft")[0] == 0
    other = ("--objective", "hard", "--output", tmp_path / "hard")
    assert run_cli("run", "--config", tmp_path / "soft" / "config.json", *other)[0] == 0
    assert (recorded(tmp_path / "soft")["exponent"], recorded(tmp_path / "hard")["exponent"]) == (
        -0.07,
        -1.0,
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("target_flop: 400M", "unknown option 'target_flop' in {} (did you mean target_flops?)"),
        ("colour: red", "unknown option 'colour' in {}; options: target_flops, target_latency"),
        ("verbose: 2", "unknown option 'verbose' in {}; options: target_flops"),
        ("target_flops: 400X", "'--target-flops': expected a positive size"),
        ("target_flops: -4", "'--target-flops': expected a positive size"),
        ("target_flops: true", "'--target-flops': expected a positive size"),
        ("target_flops: {most: 400M}", "target_flops in {} must be a single value, got"),
        ("target_flops: [400M]", "target_flops in {} must be a single value, got"),
        ("{target_flops: 400M, trials: 12.5}", "'--trials': '12.5' is not a valid integer"),
        ("target_flops: [400M", "cannot read {}: while parsing"),
        ("400M", "{} must hold options by name, got str"),
        ("trials: 3", "a run requires a target"),
    ],
)
def test_wrong_files_are_refused_in_one_line(run_cli, tmp_path, text, message):
    file = tmp_path / "run.yaml"
    file.write_text(text)
    assert message.format(repr(str(file))) in refused(run_cli, file)


def test_files_of_something_else_are_refused(run_cli, tmp_path):
    assert "cannot read" in refused(run_cli, tmp_path / "none.yaml")
    file = tmp_path / "config.json"
    file.write_text('{"format": 2, "command": "train", "config": {}, "versions": {}}')
    assert "must be the config.json of a run, got that of a `train`" in refused(run_cli, file)
    file.write_text("{")
    assert "cannot read" in refused(run_cli, file)


def test_an_unwritten_python_object_is_refused(run_cli, tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text("{target_flops: 200M, evaluator: 'python:score'}")
    err = refused(run_cli, file, "--output", tmp_path / "run")
    assert "'python:score' is a Python object" in err
    assert not Path(tmp_path / "run").exists()
