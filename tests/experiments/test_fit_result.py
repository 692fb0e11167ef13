"""What a fit prints, the names of folders, and configurations that are none."""

import shlex
from dataclasses import replace

import pytest

from mnas_search import reference
from mnas_search.common.errors import RunFolderError
from mnas_search.common.folders import Record, write_record
from mnas_search.data.loading import stem
from mnas_search.experiments.fit.result import FitResult, lines
from mnas_search.experiments.fit.session import resume
from mnas_search.experiments.search.recommendation import Recommendation
from mnas_search.experiments.training.epochs import Score
from mnas_search.experiments.training.session import TrainingResult


def found(folder, comparison):
    training = TrainingResult(
        name="photos-1",
        epochs=10,
        best_epoch=9,
        accuracy=0.72,
        top5=None,
        test=Score(top1=0.7, top5=None, n=1_000, interval=(0.671, 0.7275)),
        params=4_000_000,
        macs=60_000_000,
        folder=str(folder / "training"),
        seconds=100.0,
    )
    network = reference.architecture("efficientnet_b0")
    return FitResult(
        recommended=Recommendation(name="photos-1", source="winner", architecture=network),
        trained=training,
        folder=folder,
        seconds=120.0,
        comparison=comparison,
    )


BEST = {"name": "efficientnet_b0 x0.44", "mean": 0.61, "interval": [0.59, 0.63]}
MINE = {"name": "trial 7", "mean": 0.64, "interval": (0.62, 0.66)}


@pytest.mark.parametrize(
    ("comparison", "ending"),
    [
        (None, "one training"),
        ({"networks": []}, "one training"),  # of an earlier version
        ({"test": None}, "one training"),
        ({"test": {"best_baseline": None, "recommended": MINE}}, "one training"),
        (
            {"test": {"best_baseline": BEST, "recommended": MINE}},
            "one training; in short trainings the best baseline, efficientnet_b0 x0.44, has test "
            "accuracy 0.6100 [0.5900, 0.6300], this network 0.6400 [0.6200, 0.6600]",
        ),
        (
            {"test": {"best_baseline": BEST, "recommended": BEST}},
            "one training; the best baseline, efficientnet_b0 x0.44, has test accuracy 0.6100 "
            "[0.5900, 0.6300] in short trainings",
        ),
    ],
)
def test_the_first_line_compares_test_accuracies_of_equal_trainings(tmp_path, comparison, ending):
    first = lines(found(tmp_path, comparison))[0]
    assert first == (
        "photos-1 (60M FLOPs, 4M params): test accuracy 0.7000 [0.6710, 0.7275] on 1,000 images, "
        + ending
    )


def test_a_latency_is_said_where_it_is_bounded(tmp_path):
    result = replace(found(tmp_path, None), latency=0.0123)
    assert "(60M FLOPs, 4M params, 12.3 ms predicted): test" in lines(result)[0]
    result = replace(result, measured=0.013)
    assert "12.3 ms predicted, 13.0 ms measured): test" in lines(result)[0]
    plain = result.to_dict()
    assert (plain["latency"], plain["measured_latency"]) == (0.0123, 0.013)


def test_printed_commands_name_the_folder_in_one_word(tmp_path):
    folder = tmp_path / "my photos"
    for line in lines(found(folder, None))[2:]:
        words = shlex.split(line)
        assert words[0] == "mnas-search"
        assert words[2].startswith(f"{folder}/")


def test_folders_are_named_after_all_of_the_data_s_name(tmp_path):
    for name in ("photos.v2", "10.500"):
        (tmp_path / name).mkdir()
        assert stem(str(tmp_path / name)) == name
    file = tmp_path / "images.npz"
    file.touch()
    assert stem(str(file)) == "images"
    assert stem(f"{tmp_path}/my.py:Flowers") == "Flowers"
    assert stem("hf:org/pets-1.5") == "pets-1.5"
    assert stem("digits") == "digits"
    assert stem("/") == "data"


def test_a_configuration_without_data_is_no_fit_s(tmp_path):
    write_record(tmp_path, Record(command="fit", config={"time": 60.0}, versions={}))
    with pytest.raises(RunFolderError, match="is no fit's configuration: TypeError"):
        resume(tmp_path)


def test_a_training_that_became_shorter_is_said_with_the_time(tmp_path):
    result = found(tmp_path, None)
    assert lines(result)[1].startswith("files, after 2 min 00 s: ")
    shortened = replace(result.trained, shortened="the machine became slower: 31 of 39 epochs")
    result = replace(result, trained=shortened)
    assert lines(result)[1].startswith(
        "files, after 2 min 00 s (the machine became slower: 31 of 39 epochs): "
    )
    assert len(lines(result)) == 5
    assert result.to_dict()["training"]["shortened"] == shortened.shortened
