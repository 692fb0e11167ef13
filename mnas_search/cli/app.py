"""The command group, and how errors become one line and an exit code.

Exit codes: 0 done; 1 the work failed; 2 wrong usage; 130 interrupted (Ctrl-C); 143 terminated
(SIGTERM).
"""

import logging
import os
import signal
import sys
from collections.abc import Sequence
from importlib.metadata import version

import click

from mnas_search.cli import (
    benching,
    comparing,
    explaining,
    exporting,
    fitting,
    inspecting,
    latency,
    predicting,
    scaling,
    searching,
    training,
)
from mnas_search.cli.fidelity import fidelity
from mnas_search.cli.logs import StandardError, log_options, logging_session
from mnas_search.common.checks import did_you_mean
from mnas_search.common.errors import (
    DamagedFile,
    MnasSearchError,
    UsageError,
    describe_exception,
    passed_own_code,
    reason_of,
    shorten,
    single_line,
)
from mnas_search.common.processes.signals import ending_in_order
from mnas_search.common.render.output import results_only

_LOG = logging.getLogger(__name__)
_LONGEST = 1_200  # characters of a message
_ENDED: dict[int, tuple[str, int]] = {
    signal.SIGINT: ("interrupted", 130),
    signal.SIGTERM: ("terminated", 143),
}
UNEXPECTED = "unexpected error: "  # of ours, in all likelihood


@log_options
@click.group(
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": 99,
        "show_default": True,
    }
)
@click.version_option(version("mnas-search"), message="%(version)s")
def group() -> None:
    """Search for efficient image classification networks, scale and export them.

    FLOPs are multiply-adds of convolutions and linear layers (EfficientNet-B0: 386M).
    """


_EXPERIMENTS = (
    *fitting.COMMANDS,
    *searching.COMMANDS,
    fidelity,
    *training.COMMANDS,
    *scaling.COMMANDS,
)
for _command in _EXPERIMENTS:
    group.add_command(log_options(_command))
for _command in (
    *comparing.COMMANDS,
    *exporting.COMMANDS,
    *inspecting.COMMANDS,
    *latency.COMMANDS,
    *explaining.COMMANDS,
    *predicting.COMMANDS,
    *benching.COMMANDS,
):
    group.add_command(_command)


def _keep_standard_output(command: click.Command) -> None:
    """Have a command print nothing but its result on standard output, and those below it."""
    for one in command.commands.values() if isinstance(command, click.Group) else ():
        _keep_standard_output(one)
    if command.callback is not None:
        command.callback = results_only()(command.callback)


_keep_standard_output(group)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit."""
    with logging_session() as console, ending_in_order() as ending:
        try:
            code = _run(arguments, console)
        except BaseException as error:
            if ending.signal is not None:  # what was interrupted may raise anything
                _LOG.debug("interrupted", exc_info=error)
                code = _fail(*_ENDED[ending.signal])
            else:
                code = _report(error)
    sys.exit(code)


def _run(arguments: Sequence[str] | None, console: StandardError) -> int:
    try:
        group.main(
            args=None if arguments is None else list(arguments),
            prog_name="mnas-search",
            standalone_mode=False,
            obj=console,
        )
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return 2
    if sys.stdout is not None:  # None where it was closed before the start
        sys.stdout.flush()
    return 0


def _report(error: BaseException) -> int:
    """Say in one line what went wrong; returns the exit code."""
    if isinstance(error, click.ClickException):
        return _fail(_one_line(error), 2)
    if isinstance(error, UsageError | DamagedFile):
        return _fail(str(error), 2)
    if isinstance(error, MnasSearchError):
        return _fail(str(error), 1)
    if isinstance(error, KeyboardInterrupt | click.Abort):
        return _fail(*_ENDED[signal.SIGINT])
    if isinstance(error, BrokenPipeError) and not passed_own_code(error):
        # The reader (head, less) has seen enough; keep the interpreter from writing on at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return _fail_unexpectedly(error)


def _fail_unexpectedly(error: BaseException) -> int:
    """Report what the user's code, the system or a library raised, or an error of ours."""
    if isinstance(error, SystemExit) or passed_own_code(error):
        return _fail(describe_exception(error), 1)
    if isinstance(error, OSError):
        parts = [reason_of(error), error.filename]
        return _fail(": ".join(str(part) for part in parts if part), 1)
    if isinstance(error, MemoryError):
        return _fail("out of memory", 1)
    if "Symlink loop" in str(error):  # what Python says of a link that leads to itself
        return _fail(f"{error}; a path must lead to a file or a folder", 2)
    _LOG.error("an unexpected error", exc_info=error)
    return _fail(f"{UNEXPECTED}{describe_exception(error)} (--log-file keeps the traceback)", 1)


def _fail(message: str, code: int) -> int:
    message = shorten(single_line(message), _LONGEST)  # it may quote the content of a file
    _LOG.error("%s", message)
    click.echo(f"error: {message}", err=True)
    return code


def _one_line(error: click.ClickException) -> str:
    """Return click's message on one line, with what would be accepted."""
    text = " ".join(error.format_message().split()).rstrip(".")
    text = text[:1].lower() + text[1:]
    if not isinstance(error, click.UsageError) or error.ctx is None:
        return text
    command = error.ctx.command
    if isinstance(error, click.NoSuchOption):
        known = [o for p in command.params for o in p.opts if o.startswith("--")]
        hint = did_you_mean(error.option_name, known)
        return f"no such option {error.option_name!r}{hint}; options: {', '.join(known)}"
    if isinstance(error, click.MissingParameter) and isinstance(error.param, click.Argument):
        return f"missing argument {error.param.make_metavar(error.ctx)}"
    if isinstance(command, click.Group) and text.startswith("no such command"):
        return f"{text}; commands: {', '.join(sorted(command.commands))}"
    return text
