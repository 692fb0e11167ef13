"""The benchmark of counting."""

from mnas_search.benchmarks import counting


def test_the_benchmark_runs(run_cli, monkeypatch):
    monkeypatch.setattr(counting, "_TABLES", 5_000)
    monkeypatch.setattr(counting, "_WALKED", 50)
    code, out, err = run_cli("bench", "counting")
    assert (code, err) == (0, "")
    assert "mnasnet" in out
