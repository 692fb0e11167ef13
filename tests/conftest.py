import signal

import hypothesis
import pytest

# Where the tests run in a shell's background, Ctrl-C is ignored, by their children too: unlike an
# ignored signal, one with a handler is theirs to take again.
signal.signal(signal.SIGINT, signal.default_int_handler)

hypothesis.settings.register_profile(
    "mnas", deadline=None, max_examples=60, derandomize=True, database=None
)
hypothesis.settings.load_profile("mnas")


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
