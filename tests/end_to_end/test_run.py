"""Whole runs in this process: files, resume, refusals."""

import csv
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from runs import EVALUATOR, arguments, events, timeless

import mnas_search
from mnas_search import reference
from mnas_search.architecture.cost.count import cost
from mnas_search.architecture.value import Architecture
from mnas_search.experiments.resolve import resolve_architecture

HERE = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "mine"
    result = mnas_search.search(
        "200M",
        controller="random_search",
        evaluator=EVALUATOR,
        trials=12,
        workers=0,
        output=folder,
    )
    return folder, result


def test_files_of_a_run(done):
    folder, result = done
    assert sorted(p.name for p in folder.iterdir()) == [
        "answers.jsonl",  # of the evaluator's file, which a report does not run
        "best.json",
        "config.json",
        "export",
        "family",
        "family.csv",
        "journal.jsonl",
        "pareto.csv",
        "recommended.json",
        "report.html",
        "trials.csv",
    ]
    config = json.loads((folder / "config.json").read_text())
    assert config["config"]["num_classes"] == 1000
    assert config["config"]["exponent"] == -0.07
    assert "torch" in config["versions"]

    with (folder / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == (
        "trial,status,fingerprint,block_string,accuracy,macs,params,reward,seconds,error".split(
            ","
        )
    )
    assert len(rows) == 12
    assert len({row["fingerprint"] for row in rows}) == 12
    for row in rows:
        counted = cost(Architecture.from_block_string(row["block_string"]))
        assert (int(row["macs"]), int(row["params"])) == (counted.macs, counted.params)
        reward = float(row["accuracy"]) * (counted.macs / 200e6) ** -0.07
        assert float(row["reward"]) == pytest.approx(reward, rel=1e-12)

    best = json.loads((folder / "best.json").read_text())
    within = [row for row in rows if int(row["macs"]) <= 200e6]
    assert best["reward"] == max(float(row["reward"]) for row in within)
    assert best["name"] == "mine"
    assert Architecture.from_dict(best["architecture"]).block_string == best["block_string"]
    assert result.best.macs == best["macs"]
    assert resolve_architecture(str(folder)).fingerprint == best["fingerprint"]


def test_pareto_is_the_front(done):
    folder, result = done
    with (folder / "pareto.csv").open() as file:
        front = {int(row["trial"]) for row in csv.DictReader(file)}
    for trial in result.trials:
        beaten = any(
            o.accuracy >= trial.accuracy
            and o.macs <= trial.macs
            and (o.accuracy, -o.macs) != (trial.accuracy, -trial.macs)
            for o in result.trials
        )
        assert (trial.number in front) is not beaten


def test_family_is_the_winner_scaled_and_named_after_the_run(done):
    folder, result = done
    with (folder / "family.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == [f"mine-b{i}" for i in range(8)]
    assert [int(row["resolution"]) for row in rows] == [224, 240, 260, 300, 380, 456, 528, 600]
    for row in rows:
        member = Architecture.from_json((folder / "family" / f"{row['name']}.json").read_text())
        assert cost(member).macs == int(row["macs"])
    assert int(rows[0]["macs"]) == result.best.macs


def test_exported_model_stands_alone(done, tmp_path):
    folder, result = done
    source = (folder / "export" / "model.py").read_text()
    assert "mnas_search" not in source
    for name in ("model.py", "weights.pt"):
        (tmp_path / name).write_bytes((folder / "export" / name).read_bytes())
    ran = subprocess.run(
        [sys.executable, "-I", tmp_path / "model.py"], capture_output=True, text=True, check=True
    )
    assert f"params {result.best.params:,}, macs {result.best.macs:,}" in ran.stdout
    weights = torch.load(folder / "export" / "weights.pt", weights_only=True)
    assert sum(v.numel() for k, v in weights.items() if not k.endswith(("mean", "var", "tracked")))
    words = json.loads((folder / "export" / "weights.json").read_text())
    assert words["weights"].startswith("untrained")


def test_the_journal_has_what_the_contract_names(done):
    folder, _ = done
    first, *rest = events(folder)
    assert first["event"] == "session"
    asks = [e for e in rest if e["event"] == "ask"]
    tells = [e for e in rest if e["event"] == "tell"]
    assert {"trial", "choices", "fingerprint", "duplicate_of", "time", "phase"} <= set(asks[0])
    assert {
        "trial",
        "status",
        "accuracy",
        "macs",
        "params",
        "reward",
        "seconds",
        "time",
        "phase",
    } <= set(tells[0])
    assert [e["trial"] for e in asks] == [e["trial"] for e in tells]


def test_same_seed_same_journal_and_the_same_folder_goes_on(run_cli, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        code, _, err = run_cli("run", *arguments(folder))
        assert code == 0, err
    assert timeless(one) == timeless(two)
    before = (one / "journal.jsonl").read_bytes()

    code, out, _ = run_cli("run", *arguments(one, trials=15), "--format", "json")
    assert code == 0
    assert json.loads(out)["trials"] == 15
    assert (one / "journal.jsonl").read_bytes().startswith(before)
    code, _, _ = run_cli("run", *arguments(two, trials=15))
    whole = tmp_path / "whole"
    run_cli("run", *arguments(whole, trials=15))
    assert [e for e in timeless(one) if e["event"] != "session"] == [
        e for e in timeless(whole) if e["event"] != "session"
    ]
    code, _, _ = run_cli("run", *arguments(tmp_path / "other", seed=1))
    assert timeless(tmp_path / "other") != timeless(two)


def test_resume_takes_larger_budgets_and_nothing_else(run_cli, tmp_path):
    folder = tmp_path / "run"
    run_cli("run", *arguments(folder))
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    for change, says in (
        ({"seed": 3}, "seed"),
        ({"target-flops": "300M"}, "target_flops"),
        ({"trials": 5}, "trials"),
        ({"controller": "tpe"}, "controller"),
        ({"objective": "hard"}, "objective"),
    ):
        code, out, err = run_cli("run", *arguments(folder, **change))
        assert (code, out) == (2, "")
        assert says in err
        assert err.count("\n") == 1
    code, _, err = run_cli("resume", folder, "--trials", 3)
    assert code == 2
    assert "trials must be 12 or more" in err and "got 3" in err
    assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before
    code, out, _ = run_cli("resume", folder, "--trials", 14, "--format", "json")
    assert code == 0
    assert json.loads(out)["trials"] == 14
    code, out, _ = run_cli("resume", folder, "--format", "json")
    assert json.loads(out)["trials"] == 14  # the larger budget was remembered


def test_a_changed_file_is_refused(run_cli, tmp_path):
    mine = tmp_path / "mine.py"
    mine.write_text("def score(architecture):\n    return 0.5\n")
    folder = tmp_path / "run"
    code, _, err = run_cli("run", *arguments(folder, evaluator=f"{mine}:score", trials=2))
    assert code == 0, err
    mine.write_text("def score(architecture):\n    return 0.6\n")
    code, _, err = run_cli("resume", folder, "--trials", 3)
    assert code == 2
    assert "mine.py:score' has changed since the run" in err


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"target-flops": "0"}, "'0'"),
        ({"target-flops": "-4M"}, "'-4M'"),
        ({"target-flops": "nan"}, "'nan'"),
        ({"target-flops": "banana"}, "a positive size such as 400M, 0.4G or 4e8, got 'banana'"),
        ({"target-flops": "1K"}, "has 1K FLOPs or fewer"),
        ({"target-flops": "1K"}, "(range: 51.6M to 884M, from "),
        ({"exponent": "0.07"}, "would reward more FLOPs"),
        ({"exponent": "nan"}, "nan"),
        ({"objective": "banana"}, "soft, hard, absolute"),
        ({"space": "banana"}, "efficientnet, mnasnet"),
        ({"controller": "banana"}, "random_search, tpe"),
        ({"evaluator": "banana"}, "proxy_training"),
        ({"evaluator": None, "data": "banana"}, "digits"),
        ({"evaluator": f"{HERE}/nothing.py:x"}, "no file"),
        ({"evaluator": f"{HERE}/evaluators_for_tests.py:x"}, "no 'x'"),
        ({"evaluator": f"{HERE}/evaluators_for_tests.py:not_an_evaluator"}, "must be an Eval"),
        ({"data": "digits"}, "requires an evaluator that takes data"),
        ({"trials": "-3"}, "-3"),
        ({"trials": "0"}, "trials must be a whole number of 1 or more, got 0"),
        ({"trials": "many"}, "'many'"),
        ({"workers": "-1"}, "workers must be a whole number of 0 or more, got -1"),
        ({"seed": "-1"}, "seed must be a whole number of 0 or more, got -1"),
        ({"time-budget": "soon"}, "a positive duration such as 90, 10m or 1.5h, got 'soon'"),
        ({"resolution": "0"}, "resolution must be a whole number of 1 or more, got 0"),
        ({"num-classes": "0"}, "num_classes must be a whole number of 1 or more, got 0"),
        ({"gpus-per-trial": "-1"}, "gpus_per_trial must be a number in [0, inf), got -1"),
        ({"format": "xml"}, "'xml'"),
        ({"banana": "1"}, "no such option '--banana'; options: --target-flops"),
        ({"trails": "1"}, "did you mean --trials?"),
    ],
)
def test_wrong_usage_is_one_line_and_leaves_nothing(run_cli, tmp_path, change, says):
    folder = tmp_path / "run"
    code, out, err = run_cli("run", *arguments(folder, **change))
    assert (code, out) == (2, "")
    assert says in err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert not folder.exists()


def test_folders_that_are_no_run(run_cli, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("precious")
    for command in (
        ["run", *arguments(other)],
        ["resume", other],
        ["resume", tmp_path / "nothing"],
        ["run", *arguments(other / "thesis.txt")],
        ["profile", other],
    ):
        code, out, err = run_cli(*command)
        assert (code, out) == (2, "")
        assert err.count("\n") == 1
    assert [p.name for p in other.iterdir()] == ["thesis.txt"]
    assert (other / "thesis.txt").read_text() == "precious"


def test_a_missing_target_and_a_missing_command(run_cli):
    code, _, err = run_cli("run")
    assert code == 2
    assert "--target-flops" in err
    code, _, err = run_cli("search")
    assert code == 2
    assert "commands: bench, compare, evaluate, explain, export, fidelity, fit, latency" in err


def test_every_candidate_fails(run_cli, tmp_path):
    mine = tmp_path / "mine.py"
    mine.write_text("def score(architecture):\n    return float('nan')\n")
    folder = tmp_path / "run"
    code, _, err = run_cli("run", *arguments(folder, evaluator=f"{mine}:score", trials=3))
    assert code == 1
    assert (
        "all 3 candidates failed; the first one: accuracy must be a fraction from 0 to 1, got nan"
        in err
    )
    tells = [e for e in events(folder) if e["event"] == "tell"]
    assert [e["status"] for e in tells] == ["failed"] * 3
    assert not (folder / "best.json").exists()
    assert len((folder / "trials.csv").read_text().splitlines()) == 4


@pytest.mark.parametrize("objective", ["soft", "hard", "absolute"])
def test_the_winner_keeps_the_target(run_cli, tmp_path, objective):
    code, out, _ = run_cli(
        "run", *arguments(tmp_path / "run", objective=objective, trials=30), "--format", "json"
    )
    assert code == 0
    report = json.loads(out)
    assert report["best"]["macs"] <= 200e6
    for row in report["budgets"]:
        assert row["macs"] <= row["budget"]


def test_new_folders_are_numbered(run_cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in (1, 2):
        code, _, err = run_cli("run", *arguments(None, trials=2))
        assert code == 0
        assert err.splitlines()[0] == f"run folder: {Path('runs') / f'200M-{number}'}"


def test_a_cheap_evaluator_runs_in_process(run_cli, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)  # importing Ray would raise
    cheap = f"{HERE / 'evaluators_for_tests.py'}:Cheap"
    code, _, err = run_cli("run", *arguments(tmp_path / "run", evaluator=cheap, workers=None))
    assert code == 0, err


def test_a_time_budget_ends_the_search(run_cli, tmp_path):
    evaluator = f"{HERE / 'evaluators_for_tests.py'}:slow"
    options = {"evaluator": evaluator, "trials": 1000, "time-budget": "1"}
    code, out, _ = run_cli("run", *arguments(tmp_path / "run", **options), "--format", "json")
    assert code == 0
    assert 1 <= json.loads(out)["trials"] <= 6


def test_profile(run_cli):
    text = reference.architecture("efficientnet_b0").block_string
    code, out, err = run_cli(
        "profile", "efficientnet_b0", "efficientnet_b7", "mnasnet_a1", text, "--format", "json"
    )
    assert (code, err) == (0, "")
    rows = json.loads(out)
    assert [(r["name"], r["params"], r["macs"], r["resolution"]) for r in rows] == [
        ("efficientnet_b0", 5_288_548, 385_814_752, 224),
        ("efficientnet_b7", 66_347_960, 37_745_884_192, 600),
        ("mnasnet_a1", 3_887_038, 311_579_072, 224),
        (text, 5_288_548, 385_814_752, 224),
    ]
    assert sum(s["macs"] for s in rows[0]["stages"]) == rows[0]["macs"]
    code, out, _ = run_cli("profile", "efficientnet_b0", "--layers", "--format", "json")
    layers = json.loads(out)[0]["layers"]
    assert sum(x["params"] for x in layers) == 5_288_548
    code, out, _ = run_cli("profile", "efficientnet_b0", "--layers")
    assert code == 0
    assert "blocks.6.0.conv_pwl" in out


@pytest.mark.parametrize("text", ["banana", "ir_r1_k4_s1_e6_c16", "", "efficientnet_b9"])
def test_profile_of_what_cannot_be(run_cli, text):
    code, out, err = run_cli("profile", text)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1


def test_profile_of_files(run_cli, tmp_path):
    file = tmp_path / "net.json"
    file.write_text(reference.architecture("mobilenet_v2").to_json())
    code, out, _ = run_cli("profile", file, "--format", "json")
    assert json.loads(out)[0]["params"] == 3_504_872
    for content in (b"", b"{}", b"\xff\xfe\x00", b"[" * 50_000, b'{"format": 1}'):
        file.write_bytes(content)
        code, out, err = run_cli("profile", file)
        assert (code, out) == (2, "")
        assert "net.json" in err
        assert err.count("\n") == 1


def test_scale(run_cli):
    code, out, _ = run_cli(
        "scale", "efficientnet_b0", "--family", "efficientnet", "--format", "json"
    )
    rows = json.loads(out)
    assert code == 0
    assert [r["name"] for r in rows] == [f"efficientnet_b{i}" for i in range(8)]
    for row in rows:
        counted = cost(reference.architecture(row["name"]))
        assert (row["params"], row["macs"]) == (counted.params, counted.macs)
    assert [r["dropout"] for r in rows] == [0.2, 0.2, 0.3, 0.3, 0.4, 0.4, 0.5, 0.5]
    assert {"name", "phi", "params", "macs", "memory", "resolution", "dropout"} <= set(rows[0])
    code, out, _ = run_cli("scale", "efficientnet_b0", "--phi", "0..2", "--format", "json")
    rows = json.loads(out)
    assert [r["phi"] for r in rows] == [0, 1, 2]
    assert [r["resolution"] for r in rows] == [224, 258, 296]
    assert rows[0]["macs"] == 385_814_752


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--phi", "x"], "'x'"),
        (["--phi", "3..1"], "'3..1'"),
        (["--phi", "1e9"], "phi"),
        (["--phi", "-60"], "resolution must be from 1 to 16384, got 0"),
        (["--phi", "1", "--alpha", "0.9"], "alpha must be 1 or more"),
        (["--alpha", "1.2"], "--alpha requires --phi"),
        (["--phi", "1", "--family", "efficientnet"], "exclude each other"),
        (["--family", "banana"], "banana"),
    ],
)
def test_scale_refuses(run_cli, options, says):
    code, out, err = run_cli("scale", "efficientnet_b0", *options)
    assert (code, out) == (2, "")
    assert says in err
    assert err.count("\n") == 1


def test_export(run_cli, tmp_path):
    folder = tmp_path / "out"
    code, out, _ = run_cli("export", "efficientnet_b0", "--to", "json", "-o", folder)
    assert code == 0
    assert Path(out.strip()) == folder / "architecture.json"
    again = resolve_architecture(out.strip())
    assert again == reference.architecture("efficientnet_b0")
    before = (folder / "architecture.json").read_bytes()
    code, _, err = run_cli("export", "mnasnet_a1", "--to", "json", "-o", folder)
    assert code == 2
    assert "--force" in err
    assert (folder / "architecture.json").read_bytes() == before
    code, _, _ = run_cli("export", "mnasnet_a1", "--to", "json", "-o", folder, "--force")
    assert code == 0
    code, _, err = run_cli("export", "mnasnet_a1", "--to", "banana", "-o", tmp_path / "no")
    assert code == 2
    assert "json, onnx, pytorch" in err
    assert not (tmp_path / "no").exists()


def test_a_name_cannot_leave_the_docstring_of_the_exported_model(run_cli, tmp_path):
    from dataclasses import replace

    name = '"""\nraise SystemExit("escaped")\n"""'
    file = tmp_path / "net.json"
    small = replace(Architecture.from_block_string("ds_r1_k3_s1_c8"), name=name, resolution=16)
    file.write_text(small.to_json())
    code, _, err = run_cli("export", file, "--to", "pytorch", "-o", tmp_path / "out")
    assert code == 0, err
    assert "raise SystemExit(?escaped?)" in (tmp_path / "out" / "model.py").read_text()


def test_evaluate_really_trains_on_digits(run_cli):
    small = "ds_r1_k3_s1_e1_c16 ir_r1_k3_s2_e4_c24_se0.25"
    code, out, err = run_cli("evaluate", small, small, "--seed", 5, "--format", "json")
    assert code == 0, err
    one, two = json.loads(out)
    assert one["name"] == small
    assert 0.5 < one["accuracy"] <= 1
    assert one["accuracy"] == two["accuracy"]
    assert one["std"] is None


def test_evaluate_reads_a_file(run_cli, tmp_path):
    file = tmp_path / "nets.txt"
    file.write_text("efficientnet_b0\n\nmnasnet_a1\n")
    code, out, _ = run_cli(
        "evaluate", "--file", file, "--evaluator", EVALUATOR, "--format", "json"
    )
    rows = json.loads(out)
    assert [r["name"] for r in rows] == ["efficientnet_b0", "mnasnet_a1"]
    assert all(math.isfinite(r["accuracy"]) for r in rows)
    file.write_text("")
    code, _, err = run_cli("evaluate", "--file", file)
    assert code == 2
    assert "must hold one architecture per line, got none" in err


def test_list(run_cli):
    code, out, _ = run_cli("list", "--format", "json")
    assert code == 0
    rows = json.loads(out)
    assert {r["kind"] for r in rows} >= {"spaces", "controllers", "evaluators", "exporters"}
    assert {r["package"] for r in rows} == {"mnas-search"}
    code, out, _ = run_cli("list", "architectures")
    assert "efficientnet_b7" in out


def test_folders_are_printed_as_they_would_be_typed(run_cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = run_cli("run", *arguments("mine", trials=3))
    assert code == 0, err
    assert "run folder: mine" in err.splitlines()
    assert "files: mine" in out.splitlines()
    assert "  mnas-search train mine --data DIR" in out.splitlines()
