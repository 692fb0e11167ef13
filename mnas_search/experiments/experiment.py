"""An experiment's folder, new or resumed: the one mechanism of searches, trainings and studies.

    experiment = Experiment(KIND, output)      # refuses a folder of something else
    folder = experiment.make(config, stem)     # a new folder, or the same configuration's
    with experiment.session(config) as journal: ...

The folder holds `config.json` (`mnas_search.common.folders`) and an append-only journal, which is
locked against a second process. Nothing is written before `make`.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from mnas_search.architecture.value import Architecture
from mnas_search.common import folders, plugins
from mnas_search.common.errors import RunFolderError, describe_exception
from mnas_search.common.files import write_atomically
from mnas_search.common.folders import Record
from mnas_search.common.machine import versions
from mnas_search.data import loading
from mnas_search.experiments import trust
from mnas_search.nas.evaluator import Evaluator, SupportsTraining
from mnas_search.nas.event_kinds import EventKinds
from mnas_search.nas.journal import Journal

_LOG = logging.getLogger(__name__)
_MAX_NAME = 200  # characters: a family's files are named after the folder
_MAX_SHOWN = 200  # characters of a value in a message


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentKind:
    """What differs between kinds of experiment."""

    command: str  # that begins it, as `config.json` names it
    noun: str  # for messages
    parent: str  # folder of new experiments
    journal: str = "journal.jsonl"  # file name of the journal, or of the lock where there is none
    events: EventKinds | None = None  # that the journal may hold; None for any
    # options that a resumed experiment may change
    may_differ: tuple[str, ...] = ("workers", "gpus_per_trial", "ray_address", "trial_timeout")
    # options whose `_sha256` is that of the data, not of the file that makes them
    of_data: tuple[str, ...] = ()
    # options that may become larger: numbers, or lists that keep their items
    may_grow: tuple[str, ...] = ()


@final
class Experiment:
    """An experiment and its folder.

    Args:
        output: a new folder, or one of the same kind, which is resumed; None for a new one below
            the kind's parent. `RunFolderError` is raised where it holds something else.

    Attributes:
        resumed: whether the folder holds this experiment already.
        recorded: its options in `config.json`; empty for a new one.
    """

    def __init__(self, kind: ExperimentKind, output: Path | None) -> None:
        # Absolute from the start: the user's code may change the working directory.
        self._kind, self._parent = kind, Path(kind.parent).absolute()
        self._folder = output = None if output is None else output.absolute()
        self.resumed, self.recorded = False, dict[str, Any]()
        if output is None:
            return
        if len(output.name) > _MAX_NAME:
            raise RunFolderError(
                f"the folder's name must have at most {_MAX_NAME} characters, got "
                f"{len(output.name)}"
            )
        if folders.holds_experiment(output):
            record = folders.read_record(output)
            if record.command != kind.command:
                raise RunFolderError(
                    f"{str(output)!r} holds a `{record.command}`, not a `{kind.command}`; it can "
                    f"be resumed with the command that began it and --output {output}"
                )
            self.resumed, self.recorded = True, record.config
        else:
            folders.check_free(output, kind.noun)

    @property
    def folder(self) -> Path:
        """The experiment's folder; a new one without `output` has none before `make`."""
        assert self._folder is not None
        return self._folder

    def make(
        self, config: Mapping[str, Any], stem: str, files: Mapping[str, str] | None = None
    ) -> Path:
        """Return the experiment's folder: made now, or checked to hold the same configuration.

        A new folder below the kind's parent is called `<stem>-<n>`; a new folder gets `files`,
        texts by name, beside `config.json`.
        """
        trust.remember(config)  # whose code the user has named
        if self.resumed:
            check_same(self._kind, self.folder, self.recorded, config)
            return self.folder
        if self._folder is None:
            self._folder = folders.new_folder(self._parent, stem)
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            for name, text in (files or {}).items():
                write_atomically(self.folder / name, text)
            self._write(config)
        except BaseException:  # the files alone are no experiment, and would block the next
            for name in files or {}:
                (self.folder / name).unlink(missing_ok=True)
            raise
        return self.folder

    @contextmanager
    def session(self, config: Mapping[str, Any]) -> Iterator[Journal]:
        """Open the journal, locked, and write the configuration, which may have grown."""
        with Journal(self.folder / self._kind.journal, self._kind.events) as journal:
            self._write(config)
            noun, begun = self._kind.noun, "resumed" if self.resumed else "started"
            _LOG.info("%s %s in %s", noun, begun, self.folder)
            try:
                yield journal
            except BaseException as error:
                _LOG.warning(
                    "%s in %s ended early: %s", noun, self.folder, describe_exception(error)
                )
                raise
            _LOG.info("%s ended in %s", noun, self.folder)

    def _write(self, config: Mapping[str, Any]) -> None:
        record = Record(command=self._kind.command, config=dict(config), versions=versions())
        folders.write_record(self.folder, record)


def existing(
    kind: ExperimentKind, folder: Path, *, trust_code: bool = False, runs_code: bool = True
) -> Experiment:
    """Return the experiment of a folder that must hold one already; the code that it names is
    checked where it will be run."""
    folders.read_record(folder)
    experiment = Experiment(kind, folder)
    if not runs_code:
        return experiment
    where, config = f"the {kind.noun} {str(folder)!r}", experiment.recorded
    trust.check_code(where, config, trusted=trust_code, unhashed=kind.of_data)
    return experiment


def content_hashes(
    options: Mapping[str, Any], names: Sequence[str], evaluator: Evaluator | None = None
) -> dict[str, str]:
    """Return `<name>_sha256` of the options that name a user's file or Python object.

    The data's is that of the decoded images where `evaluator` has it: files that were copied or
    touched are the same data.
    """
    hashes = {
        f"{name}_sha256": plugins.content_hash(options[name])
        for name in names
        if options[name] is not None and plugins.has_content(options[name])
    }
    data = options.get("data")
    outside = data is not None and loading.is_outside(data)
    if outside and isinstance(evaluator, SupportsTraining):
        hashes["data_sha256"] = evaluator.data_sha256
    return hashes


def check_same(
    kind: ExperimentKind, folder: Path, recorded: Mapping[str, Any], config: Mapping[str, Any]
) -> None:
    """Raise `RunFolderError`, by name, for options that would make it another experiment."""
    for name, value in config.items():
        old = recorded.get(name)
        unknown = name not in recorded and (not value or name.endswith("_sha256"))
        if value == old or unknown or name in kind.may_differ:
            continue  # an option that the folder is older than is unknown
        growing = name in kind.may_grow
        if growing and _grown(old, value):
            continue
        where = f"the {kind.noun} {str(folder)!r}"
        if name.endswith("_sha256"):
            option = name.removesuffix("_sha256")
            raise RunFolderError(trust.changed(recorded.get(option) or option, where))
        more = " or more" if growing and old is not None else ""
        raise RunFolderError(
            f"{name} must be {_shown(old)}{more} to resume {where}, got {_shown(value)}"
        )


def _grown(old: Any, value: Any) -> bool:
    if value is None or old is None:
        return value is None
    return set(old) <= set(value) if isinstance(old, list) else bool(value > old)


def _shown(value: Any) -> str:
    if isinstance(value, dict) and "stages" in value:
        return Architecture.from_dict(value).label
    text = "none" if value is None else repr(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."
