"""The entry point ``loopwright``: a table of verbs, and the one place where errors become messages and exit codes."""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import sys
import tempfile
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, cast

import typer
import typer.main

from loopwright.core.errors import LoopwrightError
from loopwright.core.openmp import wait_asleep
from loopwright.core.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# The verbs, in the order of a project's life. A module is imported when its verb is used, so that --help stays quick.
COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("loopwright.app.cli.demo", "Tell the story of one loop, from raw images to a retrained, promoted model."),
    "init": ("loopwright.app.cli.init", "Make a new project from a template, ready to run."),
    "run": ("loopwright.app.cli.run", "Turn the loop once: ingest, train, judge, register, release."),
    "up": ("loopwright.app.cli.up", "Serve, watch, schedule and turn until stopped."),
    "status": ("loopwright.app.cli.status", "Show on one screen what is live, how it does and what comes next."),
    "data": ("loopwright.app.cli.data", "Ingest and look at datasets, snapshots and the quarantine."),
    "features": ("loopwright.app.cli.features", "List feature views; fill, compare and follow them."),
    "runs": ("loopwright.app.cli.runs", "List, show and compare trainings."),
    "models": ("loopwright.app.cli.models", "List, show, compare, promote, roll back and reproduce versions."),
    "stream": ("loopwright.app.cli.stream", "Show streams and their dead letters; replay those after a fix."),
    "predict": ("loopwright.app.cli.predict", "Predict rows with a version, without a server."),
    "score": ("loopwright.app.cli.score", "Score datasets, files or queries into the lake or files, exactly once."),
    "why": ("loopwright.app.cli.why", "Follow a prediction, a model or a row back to what made it."),
    "incidents": ("loopwright.app.cli.incidents", "List incidents with their evidence; acknowledge and resolve them."),
    "kpi": ("loopwright.app.cli.kpi", "Report a business number, tied to the version that it is due to."),
    "turns": ("loopwright.app.cli.turns", "List turns and their steps; approve or decline a proposed one."),
    "plan": ("loopwright.app.cli.plan", "Plan the infrastructure for a workload, with its cost; compare plans."),
    "export": ("loopwright.app.cli.plan_export", "Write the files that run a plan: Compose, Kubernetes, Terraform."),
    "prices": ("loopwright.app.cli.prices", "List, check and compare the prices that plans use; import your own."),
    "maturity": ("loopwright.app.cli.maturity", "Say how far the project works by itself, and what brings the rest."),
    "access": ("loopwright.app.cli.access", "Make tokens with roles; show who was given sensitive values."),
    "gc": ("loopwright.app.cli.gc", "Say what could be removed, and remove it."),
}
# Click's exception of wrong use, wherever this Typer keeps it.
_CommandLineError = cast("type[typer.BadParameter]", typer.BadParameter.__mro__[2])
# A verb's shortcut is asked first; it answers the frequent, empty case without loading the verb.
SHORTCUTS = {"run": "loopwright.app.cli.nothing_new"}


def build(verb: str | None) -> typer.Typer:
    """Return the command line with the module of one verb loaded; the others are known by name and help only."""
    root = typer.Typer(
        name="loopwright",
        help="The closed loop of machine learning: data, training, serving, monitoring, and the way back.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    )
    root.callback()(_root)
    for name, (module_name, text) in COMMANDS.items():
        if name != verb:
            root.command(name, help=text)(_unloaded)
            continue
        module = importlib.import_module(module_name)
        if hasattr(module, "app"):
            root.add_typer(module.app, name=name, help=text)
        else:
            root.command(name, help=text)(module.command)
    return root


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and end the process with its exit code.

    0 done, 1 failed, 2 wrong use, 3 refused (by a gate, a budget, a missing trust), 130 interrupted.
    """
    wait_asleep()
    given = list(sys.argv[1:] if arguments is None else arguments)
    verb = next((word for word in given if not word.startswith("-")), None)
    sys.exit(_guarded(lambda: _dispatch(verb, given)))


def _dispatch(verb: str | None, arguments: list[str]) -> None:
    if verb in SHORTCUTS and arguments[0] == verb and importlib.import_module(SHORTCUTS[verb]).answers(arguments):
        return
    command = typer.main.get_command(build(verb))
    with command.make_context("loopwright", arguments) as context:  # Typer's own main would end the process by itself
        command.invoke(context)


def _guarded(action: Callable[[], object]) -> int:
    try:
        action()
    except typer.Exit as error:
        return error.exit_code
    except _CommandLineError as error:
        error.show()
        return error.exit_code
    except LoopwrightError as error:
        typer.echo(f"Error: {error.message}", err=True)
        if error.hint:
            typer.echo(f"  → {error.hint}", err=True)
        return error.exit_code
    except typer.Abort:
        typer.echo("Nothing was done: the question was not answered.", err=True)
        return 1
    except KeyboardInterrupt:
        typer.echo("Interrupted. What was finished is kept; run the same command to go on.", err=True)
        return 130
    except BrokenPipeError:  # the reader has seen enough, as in `loopwright runs list | head`
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        typer.echo(f"Error: {error.strerror or error}{f': {error.filename}' if error.filename else ''}.", err=True)
        hint = "Free some space (see: loopwright gc --dry-run)" if full else "Correct that"
        typer.echo(f"  → {hint} and run the same command again; what was finished is kept.", err=True)
        return 1
    except Exception as error:  # noqa: BLE001 - the last door: a fault of ours still ends in a message
        report = Path(tempfile.gettempdir()) / "loopwright-fault.txt"
        with contextlib.suppress(OSError):
            report.write_text(traceback.format_exc(), encoding="utf-8")
        typer.echo(f"Error: an internal fault: {type(error).__name__}: {error}", err=True)
        typer.echo(f"  → Nothing finished is lost. The details are in {report}.", err=True)
        return 1
    return 0


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"loopwright {__version__}")
        raise typer.Exit


def _root(
    *, version: bool = typer.Option(False, "--version", help="Show the version.", is_eager=True, callback=_version)
) -> None:
    del version


def _unloaded() -> None:
    raise AssertionError("a verb is loaded before it is called")


if __name__ == "__main__":
    main()
