import signal

import hypothesis
import pytest

# Where the tests run in a shell's background, Ctrl-C is ignored, by their children too: unlike an
# ignored signal, one with a handler is theirs to take again.
signal.signal(signal.SIGINT, signal.default_int_handler)

# `--hypothesis-profile thorough` tries more examples, as `.ci/run` does.
for name, examples in (("quick", 20), ("thorough", 60)):
    hypothesis.settings.register_profile(
        name, deadline=None, max_examples=examples, derandomize=True, database=None
    )
hypothesis.settings.load_profile("quick")

collect_ignore = ["plugin_package"]  # its tests run where it is installed


@pytest.fixture(scope="session", autouse=True)
def _state_of_its_own(tmp_path_factory):
    """Keep what tests run out of the user's list of known code; children inherit it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture
def run_cli(capsys):
    """Call the command line in this process: (exit code, standard output, standard error)."""
    from mnas_search.cli import main

    def call(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as exit_:
            main([str(a) for a in arguments])
        out, err = capsys.readouterr()
        return int(exit_.value.code or 0), out, err

    return call
