"""``dlrun init``: a folder to begin with, for components of the user's own."""

import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

from dlrun.errors import InputError, StoreError

USAGE = """\
usage: dlrun init [FOLDER]

Writes components.py with an activation, a loss and a model, conf/ with an option for each, and a README of ten lines, and prints
a command that compares them with dlrun's own. FOLDER is made if it is not there; it must be empty. Without it: this folder.

Examples:
  dlrun init demo
"""

TEMPLATES = Path(__file__).parent / "templates"
COMMAND = "dlrun --import components --config-dir conf -m activation=mine,relu loss=mine,mse model=mine seed=0,1"


def run(words: Sequence[str]) -> int:
    """Write the folder. Returns the exit code.

    Raises:
        InputError: more than one folder, or one that is not empty.
        StoreError: it cannot be written.
    """
    if len(words) > 1 or any(word.startswith("-") or "=" in word for word in words):
        raise InputError(f"init {' '.join(words)}: takes one folder, such as dlrun init demo")
    folder = Path(words[0] if words else ".")
    try:
        _check(folder)
        shutil.copytree(TEMPLATES, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    except OSError as error:
        raise StoreError(f"{folder}: cannot be written ({error.strerror or error})") from error
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".py", ".yaml", ".md"):
            print(path)
    print("\nNow type:")
    if words:
        print(f"  cd {shlex.quote(words[0])}")
    print(f"  {COMMAND}")
    return 0


def _check(folder: Path) -> None:
    """Refuse a folder in which something lies; hidden files such as .git are no obstacle."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; dlrun init takes a folder")
    found = sorted(path.name for path in folder.iterdir() if not path.name.startswith(".")) if folder.exists() else []
    if found:
        raise InputError(f"{folder}: is not empty ({', '.join(found[:3])}{', ...' * (len(found) > 3)}); name a new folder")
