"""``filigree``: a lazy group of commands, and the one place where errors become text.

Only click is imported here; ``--help`` must stay under 150 ms.
"""

from __future__ import annotations

import importlib
import sys
import traceback

import click

from filigree.cli.console import console

COMMANDS = (
    "demo",
    "inspect",
    "prune",
    "quantize",
    "finetune",
    "convert",
    "run",
    "bench",
    "count",
    "verify",
    "calibrate",
    "doctor",
)

EPILOG = """\b
Exit codes:
  0  ok
  1  a bug in filigree
  2  a wrong option or argument
  3  the model uses something that is not supported
  4  the result does not fit the target
  5  a tool or Python package is missing
  6  numbers disagree
  7  a bad file

Environment: FILIGREE_ISA forces an instruction set (filigree doctor lists them), NO_COLOR turns
colours off."""


class LazyGroup(click.Group):
    """Imports a command's module when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"filigree.cli.commands.{cmd_name}")
        command: click.Command = module.command
        return command


def _version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value:
        from importlib.metadata import version

        console.line(f"filigree {version('filigree')}")
        ctx.exit()


def _debug(_ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    console.debug = console.debug or value


@click.group(cls=LazyGroup, epilog=EPILOG)
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_version,
    help="Print the version.",
)
@click.option(
    "--debug",
    is_flag=True,
    expose_value=False,
    callback=_debug,
    help="Show the traceback of an unexpected error.",
)
def cli() -> None:
    """Make a pruned model smaller and faster on the device it was pruned for."""


def run(args: list[str]) -> int:
    """Run one command line and return its exit code; never raises."""
    try:
        code = cli.main(args, prog_name="filigree", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return 2
    except click.UsageError as error:
        return _usage(error)
    except click.exceptions.Exit as error:
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        console.note("stopped")
        return 130
    except BrokenPipeError:
        sys.stderr.close()  # the reader of a pipe went away; python would complain again at exit
        return 141
    except Exception as error:
        return _failed(error)
    return code if isinstance(code, int) else 0


def _usage(error: click.UsageError) -> int:
    message = error.format_message().rstrip(".")
    path = error.ctx.command_path if error.ctx else "filigree"
    _say(message[:1].lower() + message[1:], hint=f"{path} --help")
    return 2


def _failed(error: Exception) -> int:
    if console.debug:
        traceback.print_exception(error)
    if isinstance(error, ModuleNotFoundError) and not str(error.name).startswith("filigree"):
        _say(
            f'the Python package "{error.name}" is not installed',
            hint='pip install "filigree[convert]"   (filigree doctor lists what is missing)',
        )
        return 5
    from filigree.cli.failures import known

    expected = known(error)
    if expected is not None:
        console.error(expected)
        return expected.exit_code
    _say(
        f"a bug in filigree: {type(error).__name__}: {error}",
        hint="the same command with --debug, and report what it prints",
    )
    return 1


def _say(headline: str, *, hint: str) -> None:
    from filigree.converter.errors import FiligreeError

    console.error(FiligreeError(headline, hint=hint))


def main() -> None:
    """The entry point of the ``filigree`` script."""
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
