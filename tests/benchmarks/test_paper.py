"""The EfficientNet paper's figures beside what is counted here: rule, reasons, page, latency."""

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from pages import checked

from mnas_search import reference
from mnas_search.architecture.cost.count import cost
from mnas_search.architecture.scaling import scale
from mnas_search.benchmarks import latency
from mnas_search.benchmarks.paper import ROUNDING
from mnas_search.benchmarks.paper import all_tables as everything
from mnas_search.benchmarks.paper.figures import run_family
from mnas_search.benchmarks.paper.printed import TABLE_2, TABLE_3, TABLE_7, Printed
from mnas_search.benchmarks.paper.reasons import FROM_PRINTED
from mnas_search.benchmarks.paper.report import as_printed
from mnas_search.cli.app import main
from mnas_search.common.errors import RunFolderError
from mnas_search.common.render.chart import Chart, Point, Series, svg

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def tables():
    return everything()


@pytest.fixture(scope="module")
def lines(tables):
    return {(t.title.split(",")[0], x.row, x.quantity): x for t in tables for x in t.lines}


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as done:
        main(["bench", "paper", *arguments])
    out, err = capsys.readouterr()
    return done.value.code, out, err


@pytest.mark.parametrize(
    ("text", "value", "half"),
    [
        ("5.3M", 5.3e6, 0.05e6),
        ("0.39B", 0.39e9, 0.005e9),
        ("11x", 11, 0.5),
        ("77.1%", 77.1, 0.05),
        ("0.098s", 0.098, 0.0005),
        ("224", 224, 0.5),
        ("-0.07", -0.07, 0.005),
        ("25K", 25e3, 500),
    ],
)
def test_a_printed_figure_knows_how_exact_it_is(text, value, half):
    figure = Printed(text)
    assert figure.value == pytest.approx(value, rel=1e-12)
    assert figure.half == pytest.approx(half, rel=1e-12)
    assert figure.rounds(value + 0.99 * half)
    assert figure.rounds(value - half)
    assert not figure.rounds(value + 1.01 * half)


def test_a_ratio_follows_from_figures_within_their_rounding():
    assert Printed("4.9x").follows(Printed("26M"), Printed("5.3M"))
    assert Printed("3.0x").follows(Printed("23M"), Printed("7.8M"))
    assert not Printed("6.0x").follows(Printed("23B"), Printed("4.2B"))


@pytest.mark.parametrize("text", ["", "5.3 M", "5,3M", "x", "5.3G"])
def test_what_is_no_printed_figure(text):
    with pytest.raises(ValueError, match="must be such as"):
        Printed(text)


@pytest.mark.parametrize("index", range(8))
def test_the_efficientnets_are_counted(lines, index):
    own = cost(reference.architecture(f"efficientnet_b{index}"))
    name = f"EfficientNet-B{index}"
    found = {q: x for (_, row, q), x in lines.items() if row == name}
    assert found["params"].computed == own.params
    assert found["FLOPs"].computed == own.macs
    assert abs(found["FLOPs"].difference) < 5
    assert found["params ratio"].computed == 1


def test_what_is_rounding_and_what_is_not(lines):
    def of(row, quantity):
        return next(x for (_, r, q), x in lines.items() if (r, q) == (row, quantity))

    assert of("EfficientNet-B0", "FLOPs").reason == ROUNDING
    assert of("EfficientNet-B3", "params").reason == ROUNDING
    for name, more in (("B1", -1.9), ("B4", 4.6), ("B5", 3.7), ("B7", 2.0)):
        line = of(f"EfficientNet-{name}", "FLOPs")
        assert line.reason != ROUNDING
        assert line.difference == pytest.approx(more, abs=0.05)
    assert "23B / 4.2B" in of("PNASNet", "FLOPs ratio").reason
    assert of("Inception-v3", "params ratio").reason != ROUNDING
    assert of("GPipe", "params ratio").reason == ROUNDING


@pytest.mark.parametrize("row", [*TABLE_3, *TABLE_7], ids=lambda r: f"{r.base}, {r.change}")
def test_scaled_rows_are_within_three_percent_or_explained(lines, row):
    name = row.base.lower().replace("-", "_" if "Eff" in row.base else "")
    name = name.replace("mobilenetv", "mobilenet_v")
    base = reference.architecture(name)
    own = cost(
        scale(
            base,
            depth=row.depth,
            width=row.width,
            resolution=round(row.resolution * base.resolution),
        )
    )
    found = [
        x for (_, r, q), x in lines.items() if (r, q) == (f"{row.base}, {row.change}", "FLOPs")
    ]
    assert found[0].computed == own.macs
    assert found[0].reason == ROUNDING or len(found[0].reason) > 40


def test_table_1_is_the_plan_of_b0(tables):
    table = next(t for t in tables if t.key == "1")
    assert len(table.lines) == 27
    assert all(x.difference == 0 and not x.reason for x in table.lines)


def test_every_figure_is_computed_or_has_a_reason(tables):
    for table in tables:
        for line in table.lines:
            assert line.printed is not None or line.computed is not None or line.reason
            if line.computed is None or (line.difference and line.reason != ROUNDING):
                assert line.reason, line
            if line.reason == ROUNDING:
                assert line.printed.rounds(line.computed)
                assert line.difference


def test_the_points_that_the_paper_prints_are_there(tables):
    printed = {x.printed.text for t in tables for x in t.lines if x.printed is not None}
    assert printed >= {
        "8.4x",
        "18x",
        "6.1x",
        "5.7x",
        "9.6x",
        "4.7x",
        "557M",
        "560M",
        "2.5",
        "556M",
    }
    assert len(TABLE_2) == 24
    earlier = {x.row: x.earlier.text for t in tables for x in t.lines if x.earlier is not None}
    assert earlier["EfficientNet-B0"] == "76.3%"
    notes = " ".join(note for t in tables for note in t.notes)
    assert "phi = 0" in notes
    assert "GPipe is not built here" in notes


def test_the_differences_in_the_docs_are_those_of_the_command(tables):
    text = (Path(__file__).parents[2] / "docs" / "paper.md").read_text()
    said = {ROUNDING, FROM_PRINTED}
    rows = [
        f"| {t.key} | {x.row}: {x.quantity} | {x.printed.text} | "
        f"{as_printed(x.printed, x.computed)} | {x.difference:+.1f} % |"
        for t in tables
        for x in t.lines
        if x.difference and x.reason not in said and t.key != "equation 3"
    ]
    assert len(rows) > 15
    documented = [line for line in text.splitlines() if line.count(" | ") == 5 and " % |" in line]
    assert [line.rpartition(" | ")[0] + " |" for line in documented] == rows


def test_json_is_one_list_of_lines(capsys):
    code, out, err = run(capsys, "--format", "json")
    assert (code, err) == (0, "")
    value = json.loads(out)
    keys = {"table", "title", "row", "quantity", "printed", "value", "earlier"}
    for line in value["lines"]:
        assert set(line) == keys | {"computed", "difference", "reason"}
        assert (line["printed"] is None) == (line["value"] is None)
        assert line["computed"] is not None or line["reason"]
    assert value["family"] is None
    b0 = next(
        x for x in value["lines"] if x["row"] == "EfficientNet-B0" and x["quantity"] == "params"
    )
    assert b0["computed"] == 5_288_548
    assert b0["difference"] == pytest.approx(-0.216, abs=0.001)


def test_the_tables_and_the_folder(capsys, tmp_path):
    code, out, _ = run(capsys, "-o", str(tmp_path / "paper"))
    assert code == 0
    assert "0.3858B -1.1%" in out
    assert "not the ratio of the paper's own figures" in out
    files = {file.name for file in (tmp_path / "paper").iterdir()}
    assert files == {"paper.html", "params.svg", "flops.svg", "paper.json"}
    parsed, _ = checked((tmp_path / "paper" / "paper.html").read_text())
    assert "phi = 0" in parsed.text
    for name, points in (("params.svg", 25), ("flops.svg", 40)):
        svg = ElementTree.fromstring((tmp_path / "paper" / name).read_text())
        assert sum(e.find(f"{SVG}title") is not None for e in svg.iter(f"{SVG}circle")) == points
        labels = {e.text for e in svg.iter(f"{SVG}text")}
        assert labels >= {"B0", "B7", "ResNet-50", "SENet", "AmoebaNet-C"}
    code, _, err = run(capsys, "-o", str(tmp_path / "paper"))
    assert code == 2
    assert "--force" in err
    assert run(capsys, "-o", str(tmp_path / "paper"), "--force")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--force",), "--force requires --output"),
        (("no/such/run",), "no/such/run"),
    ],
)
def test_wrong_usage_is_one_line(capsys, arguments, said):
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert said in err


def test_report_requires_a_run(capsys):
    with pytest.raises(SystemExit) as done:
        main(["report"])
    assert done.value.code == 2
    assert capsys.readouterr().err == "error: missing argument RUN\n"


@pytest.fixture
def folder(tmp_path):
    """What a finished run leaves, as far as it is read here."""
    folder = tmp_path / "mine"
    folder.mkdir()
    config = {"evaluator": "accel_nasbench", "data": None}
    (folder / "config.json").write_text(json.dumps({"config": config, "versions": {}}))
    (folder / "best.json").write_text(json.dumps({"accuracy": 0.66, "check": {"accuracy": 0.651}}))
    rows = "name,params,macs\nmine-b0,5000000,390000000\nmine-b1,7000000,700000000\n"
    (folder / "family.csv").write_text(rows)
    return folder


def test_ones_own_family_is_drawn_for_what_it_is(capsys, folder, tmp_path):
    code, out, _ = run(capsys, str(folder), "--format", "json", "-o", str(tmp_path / "o"))
    family = json.loads(out)["family"]
    assert code == 0
    assert [m["macs"] for m in family["members"]] == [390_000_000, 700_000_000]
    assert family["accuracy"] == 0.651
    assert "does not compare" in family["note"]
    svg = (tmp_path / "o" / "flops.svg").read_text()
    assert svg.count('class="violet tick"') == 2 + 1  # and one in the key
    assert svg.count('class="violet hollow"') == 1 + 1
    parsed, _ = checked((tmp_path / "o" / "paper.html").read_text())
    assert "mine-b1" in parsed.text


def test_an_accuracy_on_other_data_is_not_drawn(capsys, folder, tmp_path):
    config = {"evaluator": "proxy_training", "data": "digits"}
    (folder / "config.json").write_text(json.dumps({"config": config, "versions": {}}))
    code, out, _ = run(capsys, str(folder), "-o", str(tmp_path / "o"))
    assert code == 0
    assert "is not ImageNet's and is not drawn" in out
    assert "violet hollow" not in (tmp_path / "o" / "params.svg").read_text()


@pytest.mark.parametrize("name", ["config.json", "best.json", "family.csv"])
def test_a_run_without_winner_or_family_is_refused(folder, name):
    (folder / name).unlink()
    with pytest.raises(RunFolderError, match=re.escape(name)):
        run_family(folder)


@pytest.mark.parametrize("text", ["name,params\na,1\n", "name,params,macs\na,x,1\n", ""])
def test_a_family_that_cannot_be_read(folder, text):
    (folder / "family.csv").write_text(text)
    with pytest.raises(RunFolderError):
        run_family(folder)


def test_labels_of_a_scatter_overlap_nothing():
    points = tuple(
        Point(label=f"point {i}", x=1e9 * (1 + 0.02 * i), y=80 + 0.05 * i, title="")
        for i in range(40)
    )
    chart = Chart(
        title="&",
        across="x",
        series=[Series(name="<crowd>", points=points)],
        logarithmic=True,
    )
    drawn = svg([chart], label="&")
    found = [
        e for e in ElementTree.fromstring(drawn).iter(f"{SVG}text") if "point" in (e.text or "")
    ]
    shares = {"start": 0, "middle": 0.5, "end": 1}
    boxes = [
        (
            float(e.get("x")) - 6 * len(e.text) * shares[e.get("text-anchor")],
            float(e.get("y")),
            6 * len(e.text),
        )
        for e in found
    ]
    assert 1 < len(boxes) < 40
    for i, (x, y, width) in enumerate(boxes):
        for u, v, wide in boxes[:i]:
            assert x + width <= u or u + wide <= x or abs(y - v) >= 11


def test_latency_compares_in_turn_and_reproduces_no_gpipe():
    import torch

    threads = torch.get_num_threads()
    notes = []
    found = latency.run(latency.QUICK, runs=2, note=notes.append)
    assert torch.get_num_threads() == threads
    assert len(notes) == 5
    assert [row["resolution"] for row in found["seconds"]] == [40, 32, 40, 32]
    for row in found["seconds"]:
        assert 0 < row["mean, s"] <= row["in the other format, s"]
        assert row["memory format"] in ("contiguous", "channels_last")
        assert (row["runs"], row["threads"]) == (2, 1)
    *own, gpipe = found["ratios"]
    by_row = {(r["network"], r["resolution"]): r["mean, s"] for r in found["seconds"]}
    assert own[0]["times faster"] == by_row["resnet50", 32] / by_row["efficientnet_b0", 40]
    assert [row["paper"] for row in found["ratios"]] == [None] * 3 + ["6.1x"]  # stand-ins
    assert gpipe["times faster"] is None
    assert "GPipe is not built here" in gpipe["note"]


def test_latency_has_the_published_figures_beside_those_of_the_same_networks():
    timed = (
        latency.Timed("efficientnet_b0", 32, latency.FAST),
        latency.Timed("mobilenet_v2", 32, latency.SLOW),
    )
    found = latency.run(timed, runs=1, note=lambda line: None)
    assert [row["paper"] for row in found["seconds"]] == ["0.098s", "0.554s"]
    assert [row["paper"] for row in found["ratios"]] == ["5.7x", "5.7x", "6.1x"]
    assert {t.paper for t in latency.FULL} == {latency.FAST, latency.SLOW, latency.LARGE}


@pytest.mark.full
def test_bench_latency_prints_both_tables(capsys):
    with pytest.raises(SystemExit) as done:
        main(["bench", "latency", "--quick", "--format", "json"])
    out, err = capsys.readouterr()
    assert done.value.code == 0
    assert set(json.loads(out)) == {"seconds", "ratios"}
    assert "run 2 of 2" in err
