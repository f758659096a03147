"""The command line: one command, `diagnosis`, over the public functions.

Exit status: 0 answered, 2 bad arguments or unknown id (one line on standard error, and a hint), 3 cannot say, 4 `detect` found something
new, 5 a rehearsal refuses the fix.
"""

from __future__ import annotations

import sys
from importlib.metadata import entry_points
from typing import Any

import typer

from diagnosis.cli import (
    ask,
    bench,
    casework,
    collecting,
    detecting,
    hotfixing,
    launching,
    localizing,
    models,
    resolving,
    running,
    sampling,
    writing,
)
from diagnosis.errors import DiagnosisError

COMMANDS = "diagnosis.commands"


def build(arguments: list[str]) -> typer.Typer:
    """The command with its subcommands; an installed plug-in is loaded only when `arguments` name it."""
    app = typer.Typer(
        name="diagnosis",
        help="Reproduce a recommender's request, check its inputs, find the cause, prove it by replay.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.command("demo")(running.demo)
    app.command("serve")(running.serve)
    app.command("check")(ask.check)
    app.command("find")(ask.find)
    app.command("replay")(ask.replay)
    app.command("inputs")(ask.inputs)
    app.command("explain")(ask.explain)
    app.command("diagnose")(localizing.diagnose)
    app.command("localize")(localizing.localize)
    app.command("detect")(detecting.detect)
    app.command("launches")(launching.launches)
    app.command("rehearse")(resolving.rehearse)
    app.command("import")(writing.import_)
    app.command("collect")(collecting.collect)
    app.command("forget")(collecting.forget)
    app.command("coverage")(sampling.coverage)
    app.add_typer(sampling.app, name="sampling")
    app.add_typer(models.app, name="models")
    app.add_typer(writing.contract, name="contract")
    app.add_typer(bench.app, name="bench")
    app.add_typer(hotfixing.hotfix, name="hotfix")
    app.add_typer(casework.case, name="case")
    app.add_typer(casework.share, name="share")
    for point in sorted(entry_points(group=COMMANDS), key=lambda p: p.name):
        if point.name in arguments[:1]:
            app.command(point.name)(point.load())
        else:
            app.command(point.name, help=f"Installed by {point.value.partition('.')[0]}.")(_later)
    return app


def main(arguments: list[str] | None = None) -> None:
    """Run the command; what goes wrong is one line and a hint."""
    given = sys.argv[1:] if arguments is None else arguments
    try:
        build(given)(given, prog_name="diagnosis")
    except DiagnosisError as error:
        _fail(error.message, error.hint, error.exit_code)
    except ValueError as error:
        _fail(str(error).splitlines()[0], "", 2)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except KeyboardInterrupt:
        sys.exit(130)


def _later() -> None:
    """Stands in the help for a plug-in that is not loaded."""


def _fail(message: str, hint: str, code: int) -> Any:
    from diagnosis.cli.output import plain

    print(f"diagnosis: {plain(message)}", file=sys.stderr)
    if hint:
        print(f"Hint: {plain(hint)}", file=sys.stderr)
    sys.exit(code)
