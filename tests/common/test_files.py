"""Atomic writes and the checksums of JSON files."""

import errno
import fcntl
import json
import multiprocessing
import os
import re
import signal
from pathlib import Path

import pytest

from mnas_search.architecture.value import Architecture
from mnas_search.common import files
from mnas_search.common.checksums import CHECKSUM, checked, with_checksum
from mnas_search.common.errors import DamagedFile, InvalidArchitecture, RunFolderError, WorkFailed
from mnas_search.common.files import (
    atomic_write,
    make_folder,
    open_unlinked,
    read_json,
    waiting_lock,
    write_atomically,
    write_json,
)
from mnas_search.nas.journal import Journal

VALUE = {"name": "a", "numbers": [1, 2.5, None], "inner": {"b": True}}


def flipped(content, bit):
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_every_flipped_bit_of_a_json_file_is_refused_or_changes_no_value(tmp_path):
    path = write_json(tmp_path / "f.json", VALUE)
    whole, refused = path.read_bytes(), 0
    for bit in range(8 * len(whole)):
        path.write_bytes(flipped(whole, bit))
        try:
            found = read_json(path)
        except (DamagedFile, ValueError):
            refused += 1
        else:  # the name or form of the checksum, or a space
            assert {n: v for n, v in found.items() if n in VALUE} == VALUE, bit
    assert refused > 0.6 * 8 * len(whole)
    for cut in range(len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(ValueError, match=r"line \d+ column"):
            read_json(path)


def test_json_without_a_checksum_is_taken_as_it_is(tmp_path):
    path = tmp_path / "f.json"
    for value in (VALUE, [1], {**VALUE, CHECKSUM: "mine"}, {CHECKSUM: 3}):
        path.write_text(json.dumps(value))
        assert read_json(path) == value
    assert checked(with_checksum(VALUE)) == VALUE


def test_an_architecture_s_file_may_have_a_checksum():
    network = Architecture.from_block_string("ds_r1_k3_s1_c8")
    value = with_checksum(network.to_dict())
    assert Architecture.from_dict(value) == Architecture.from_json(json.dumps(value)) == network
    with pytest.raises(InvalidArchitecture, match="is damaged or was edited"):
        Architecture.from_dict({**value, "num_classes": 10})


def test_temporaries_follow_no_link_and_a_link_is_replaced(tmp_path, monkeypatch):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / ".page.html.tmp").symlink_to(victim)  # as earlier versions called it
    (tmp_path / "page.html").symlink_to(victim)
    write_atomically(tmp_path / "page.html", "page")
    assert (tmp_path / "page.html").read_text() == "page"
    assert not (tmp_path / "page.html").is_symlink()
    # Even a name that was guessed.
    monkeypatch.setattr(files.secrets, "token_hex", lambda count: "0" * 2 * count)
    guessed = tmp_path / ".page.html.00000000.mnas-search.tmp"
    guessed.symlink_to(victim)
    with pytest.raises(WorkFailed, match="cannot write"):
        write_atomically(tmp_path / "page.html", "other")
    assert (victim.read_text(), (tmp_path / "page.html").read_text()) == ("mine", "page")


def test_locks_and_folders_follow_no_link(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "lock").symlink_to(victim)
    with pytest.raises(OSError, match="symbolic links") as caught, waiting_lock(tmp_path / "lock"):
        pass
    assert caught.value.errno == errno.ELOOP
    (tmp_path / "export").symlink_to(tmp_path)
    with pytest.raises(RunFolderError, match="must be a folder, got a link to"):
        make_folder(tmp_path / "export")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not an ordinary file"):
        open_unlinked(tmp_path / "pipe")
    assert victim.read_text() == "mine"


def killed_while_writing(path):
    with atomic_write(path) as file:
        file.write(b"half")
        os.kill(os.getpid(), signal.SIGKILL)


def test_what_a_killed_write_left_goes_with_the_next(tmp_path):
    path = write_atomically(tmp_path / "a[1].json", "old")
    process = multiprocessing.get_context("fork").Process(
        target=killed_while_writing, args=(path,)
    )
    process.start()
    process.join()
    assert path.read_text() == "old" and len(list(tmp_path.iterdir())) == 2
    with atomic_write(path) as file:  # a live one stays
        file.write(b"first")
        write_atomically(path, "second")
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


def test_a_temporary_that_another_process_takes_for_a_leftover_is_made_anew(tmp_path, monkeypatch):
    lock, path, seen = fcntl.flock, tmp_path / "a", []

    def interrupted(opened, how):
        """Another process cleans up between the opening of the first temporary and its lock."""
        if not seen:
            seen.extend(tmp_path.iterdir())
            files.remove_leftovers(path)
            assert not list(tmp_path.iterdir())
        lock(opened, how)

    monkeypatch.setattr(fcntl, "flock", interrupted)
    write_atomically(path, "text")
    assert len(seen) == 1 and path.read_text() == "text"
    path.unlink()
    seen.clear()
    with files.atomic_directory(path) as temporary:
        (temporary / "file").write_text("text")
    assert len(seen) == 1 and [one.name for one in path.iterdir()] == ["file"]


def test_without_locks_files_are_written_and_nothing_is_taken_for_a_leftover(
    tmp_path, monkeypatch
):
    def refuse(opened, how):
        raise OSError(errno.ENOLCK, "No locks available")

    path, left = tmp_path / "a", tmp_path / ".a.0123.mnas-search.tmp"
    left.write_text("of a live process, perhaps")
    monkeypatch.setattr(fcntl, "flock", refuse)
    write_atomically(path, "text")
    with Journal(tmp_path / "journal.jsonl") as journal, waiting_lock(tmp_path / "lock"):
        journal.append({"event": "one"})
    assert path.read_text() == "text" and left.exists()


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    path = write_atomically(tmp_path / "f", "old")
    with pytest.raises(RuntimeError), atomic_write(path) as file:
        file.write(b"new")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_new_files_have_the_rights_of_any_other(tmp_path):
    Path(tmp_path / "other").write_text("")
    write_atomically(tmp_path / "f", "text")
    assert (tmp_path / "f").stat().st_mode == (tmp_path / "other").stat().st_mode


# Files that are not in an experiment's folder, or opened with O_EXCL.
OTHER_WRITERS = {
    "evaluators/accel_nasbench/build.py",  # the package's own evidence
    "experiments/runners/limits.py",  # "x"
    "export/quantisation.py",  # a temporary folder
    "testing/controllers.py",
}


def test_one_module_writes_files():
    """A link or a half-written file can be in one place only."""
    package = Path(files.__file__).parents[1]
    writes = re.compile(r"""\.write_(text|bytes)\(|\bopen\([^)\n]*["'][wax]b?\+?["']""")
    found = {
        str(file.relative_to(package))
        for file in package.rglob("*.py")
        if writes.search(file.read_text(encoding="utf-8"))
    }
    assert found - {"common/files.py"} == OTHER_WRITERS
