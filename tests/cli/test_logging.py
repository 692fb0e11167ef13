"""Logging: `--log-file`, `-v` and `--quiet`, and what a library user sees."""

import json
import logging
import re

import pytest

import mnas_search

LINE = re.compile(r"[\d-]{10} [\d:]{8},\d{3} (DEBUG|INFO|WARNING|ERROR) mnas_search[.\w]*: .+")


def options(tmp_path, trials=4):
    return ["--target-flops", "400M", "--trials", trials, "--workers", 0, "--evaluator",
            f"{evaluator(tmp_path)}:score", "--output", tmp_path / "run"]  # fmt: skip


def evaluator(tmp_path):
    """Return a file with an evaluator that fails for one network in four, by fingerprint."""
    file = tmp_path / "score.py"
    file.write_text(
        "def score(architecture):\n"
        "    if int(architecture.fingerprint[:2], 16) % 4 == 0:\n"
        "        raise ValueError('no luck')\n"
        "    return 0.5\n"
    )
    return file


@pytest.mark.parametrize("before", [True, False], ids=["of the group", "of the command"])
def test_a_log_file(run_cli, tmp_path, before):
    log = ["--log-file", tmp_path / "log.txt"]
    run = ["run", *options(tmp_path, 16), "--format", "json"]
    code, out, err = run_cli(*(log + run if before else run + log))
    assert code == 0, err
    json.loads(out)
    assert "trial 0" not in err  # the file does not make standard error longer
    lines = (tmp_path / "log.txt").read_text().splitlines()
    assert all(LINE.fullmatch(line) for line in lines)
    text = "\n".join(lines)
    assert f"run started in {tmp_path / 'run'}" in text
    assert f"run ended in {tmp_path / 'run'}" in text
    told = re.findall(r"(INFO|WARNING) mnas_search.nas.core: trial \d+", text)
    assert len(told) == 16 and set(told) == {"INFO", "WARNING"}
    assert "failed: ValueError: no luck" in text

    code, out, err = run_cli(*log, "resume", tmp_path / "run")
    assert code == 0, err
    assert f"run resumed in {tmp_path / 'run'}" in (tmp_path / "log.txt").read_text()


def test_errors_are_logged_too(run_cli, tmp_path):
    code, _, err = run_cli("--log-file", tmp_path / "log.txt", "profile", "no_such_network")
    assert code == 2 and err.startswith("error: ") and err.count("\n") == 1
    message = err.removeprefix("error: ").strip()
    assert message in (tmp_path / "log.txt").read_text()


def test_verbose_and_quiet(run_cli, tmp_path):
    code, out, err = run_cli("-v", "run", *options(tmp_path))
    assert code == 0 and out
    assert len(re.findall("INFO mnas_search.nas.core: trial|core: trial [0-9]+ failed", err)) == 4
    code, out, err = run_cli("resume", tmp_path / "run", "--trials", 5, "--quiet")
    assert code == 0 and out and err == ""
    code, _, err = run_cli("--quiet", "resume", tmp_path / "none")
    assert code == 2 and err.startswith("error: ")
    code, out, err = run_cli("--quiet", "resume", tmp_path / "run", "-v")
    assert code == 0 and out and err == ""  # --quiet wins
    assert logging.getLogger("mnas_search").level == logging.NOTSET  # as before the commands


def test_a_log_file_that_cannot_be_written(run_cli, tmp_path):
    code, _, err = run_cli("run", "--log-file", tmp_path, *options(tmp_path))
    assert code == 2 and "--log-file must be a file that can be written" in err
    assert not (tmp_path / "run").exists()


def test_the_library_logs_progress_and_prints_nothing(tmp_path, caplog, capfd):
    score = f"{evaluator(tmp_path)}:score"
    search = {"evaluator": score, "trials": 4, "workers": 0}
    mnas_search.search("400M", **search, output=tmp_path / "silent")
    assert capfd.readouterr() == ("", "")
    caplog.clear()
    with caplog.at_level(logging.INFO):
        mnas_search.search("400M", **search, output=tmp_path / "run")
    messages = [r.getMessage() for r in caplog.records if r.name.startswith("mnas_search.")]
    assert f"run started in {tmp_path / 'run'}" in messages
    assert sum(message.startswith("trial ") for message in messages) == 4
