"""The modules that the user imported with ``--import MODULE``: the only foreign code that configs may name."""

import importlib
import os
import sys
import threading
import traceback

from dlrun.errors import InputError

_imported: set[str] = set()
_importing = threading.RLock()  # sys.path is the process's


def trust(module: str) -> None:
    """Import a user's module, whose names may from now on stand in configs. Importing is trusting: its code runs.

    The working folder joins sys.path: in front while the module is imported, at the end afterwards, so that none of its files
    stands in for a library that is needed later.

    Raises:
        InputError: there is no such module, or it fails to import.
    """
    with _importing:
        if module not in _imported:
            _import(module)
            _imported.add(module)


def _import(module: str) -> None:
    folder = os.getcwd()
    before = list(sys.path)
    try:
        sys.path.insert(0, folder)
        importlib.invalidate_caches()  # the file may be younger than what Python remembers of the folder
        importlib.import_module(module)
    except (Exception, SystemExit) as error:
        raise InputError(f"--import {module}: {_why(error, module, folder)}") from error
    finally:
        sys.path[:] = before if folder in before else [*before, folder]


def _why(error: BaseException, module: str, folder: str) -> str:
    """What went wrong while a module was imported, and where in the user's code."""
    if isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}."):
        file = f"{module.replace('.', '/')}.py"
        return f"there is no such module; it is a file {file} in the working folder ({folder}), or an installed package"
    ours = (__file__, importlib.__file__, "<frozen importlib")
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(ours)]
    where = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    return f"raised {type(error).__name__}: {' '.join(str(error).split())}{where} while it was imported"


def trusted() -> tuple[str, ...]:
    """The modules imported so far, for worker processes to import too."""
    return tuple(sorted(_imported))


def is_own(target: str) -> bool:
    """Whether a name is of a module that the user imported."""
    return any(target.startswith(f"{user}.") for user in _imported)
