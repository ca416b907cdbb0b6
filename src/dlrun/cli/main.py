"""The entry point: looks at the first word and hands over to a verb; turns errors into lines and exit codes.

``--version``, ``--help``, ``ls`` and ``show`` are answered without Hydra, whose import takes longer than the answers.
"""

import gc
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module

from dlrun.cli.terminal import standard
from dlrun.cli.terminal.screen import write_line
from dlrun.errors import DlrunError, InputError, StoreError, of_system
from dlrun.suggestions.spelling import stray

# Each verb is a module of this package with USAGE (its help) and run(arguments) -> exit code.
VERBS = {
    "train": "train a configuration; what dlrun does without a verb",
    "plan": "show what a sweep would train and what that takes",
    "trace": "show a step of training with its numbers",
    "tune": "search settings for each configuration, and compare the best with new seeds",
    "settle": "add seeds to a sweep until its comparisons are settled",
    "gate": "check that nothing is worse than a reference by more than a margin",
    "claims": "test statements about training, and give a verdict on each",
    "smoke": "train every experiment of a folder for a moment, and tell which do not work",
    "resume": "train what a sweep has not finished",
    "compare": "compare runs that are kept, by any metric",
    "report": "write a report of sweeps or of a run: one HTML file",
    "plot": "draw a chart of a run or a sweep, in the terminal or to a file",
    "status": "tell how far a sweep is",
    "ls": "list the groups, or the options of a group",
    "show": "explain an option: formula, parameters, source, a drawing",
    "runs": "list the runs that are kept, find some, delete some",
    "note": "write a note on a run",
    "predict": "predict the rows of a file with runs that are kept",
    "evaluate": "measure runs that are kept on a file of rows whose targets are known",
    "encode": "write the codes that a run's model makes of rows, and how far they can be trusted",
    "export": "write a run as a folder, or for torch or ONNX",
    "import": "take run folders, and outputs of an older dlrun, into the store",
    "doctor": "check that dlrun works here, and that what is kept is what was written",
    "init": "begin a folder for components of your own",
}
_MODULES = {"import": "take_in"}  # where a verb's name can be none of a module
HELP = {"-h", "--help"}
INTERRUPTED = (128 + signal.SIGINT, 128 + signal.SIGTERM)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the ``dlrun`` command.

    Args:
        arguments: the words after ``dlrun``; those of this process when None.

    Returns:
        The exit code: 0 all well, 1 a run failed or time is over, 2 bad input, 3 a gate said no, 4 not settled, 130 and 143
        interrupted.
    """
    if arguments is None:
        return _process()
    try:
        return _dispatch(list(arguments))
    except DlrunError as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            import traceback

            traceback.print_exception(error)
        else:
            report(error)
        return error.exit_code
    except OSError as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        report(of_system(error))
        return StoreError.exit_code
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _process() -> int:
    """The command as a process of its own, from its streams to its exit code."""
    # threads that spin while they wait for one that has no core make steps a hundred times slower on a busy machine
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    gc.disable()  # composing and reading make many small objects and hardly any garbage; training enables it
    output = standard.prepare()
    code = main(sys.argv[1:])
    gc.freeze()  # the process ends here, and would look through all of torch for garbage first: half a second
    sys.stdout.flush()
    if output is not None and output.failure is not None:
        report(StoreError(f"stdout: cannot be written ({output.failure.strerror}); what was printed is not complete"))
        code = code or StoreError.exit_code
    if code in INTERRUPTED:
        os._exit(code)  # whoever interrupts does not want to wait for the libraries to say goodbye either
    return code


def report(error: DlrunError) -> None:
    """Print an error on stderr, one line a problem. Control characters of foreign text are spelled out."""
    problems = error.problems if isinstance(error, InputError) else (str(error),)
    for problem in problems:
        write_line(problem, mark=f"{mark('error:')} ")


def mark(word: str) -> str:
    """``word`` in bold red where stderr is a terminal that shows colours."""
    plain = sys.stderr is None or not sys.stderr.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return word if plain else f"\033[1;31m{word}\033[0m"


def _dispatch(words: list[str]) -> int:
    first = words[0] if words else ""
    if first == "--version":
        from dlrun import __version__
        from dlrun.native.load import described

        print(f"dlrun {__version__} (trains with {described()})")
        return 0
    verb = first if first in VERBS else ""
    if HELP.intersection(words):
        if verb:
            print(import_module(f"dlrun.cli.{_MODULES.get(verb, verb)}").USAGE.strip())
        else:
            from dlrun.cli.help import overview

            print(overview(VERBS))
        return 0
    if not verb and first.isidentifier():
        raise InputError(stray(first, words[1:], list(VERBS)))
    code: int = import_module(f"dlrun.cli.{_MODULES.get(verb, verb) or 'train'}").run(words[1:] if verb else words)
    return code


if __name__ == "__main__":
    sys.exit(main())
