"""``dlrun init``: a folder to begin with, for components of the user's own."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from dlrun.cli.arguments import JSON
from dlrun.cli.terminal.screen import show_json
from dlrun.errors import InputError, StoreError
from dlrun.results.files import write_named

USAGE = """\
usage: dlrun init [FOLDER] [--json]

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
    words, as_json = [word for word in words if word != JSON], JSON in words
    if len(words) > 1 or any(word.startswith("-") or "=" in word for word in words):
        raise InputError(f"init {' '.join(words)}: takes one folder, such as dlrun init demo")
    folder = Path(words[0] if words else ".")
    try:
        _check(folder)
        contents = {folder / name: content for name, content in _templates().items()}
    except OSError as error:
        raise StoreError(f"{folder}: cannot be written ({error.strerror or error})") from error
    written = [str(write_named(path, content)) for path, content in contents.items()]
    if as_json:
        show_json({"folder": str(folder), "files": written, "command": COMMAND})
        return 0
    print("\n".join(written))
    print("\nNow type:")
    if words:
        print(f"  cd {shlex.quote(words[0])}")
    print(f"  {COMMAND}")
    return 0


def _check(folder: Path) -> None:
    """Refuse a folder in which something lies.

    Hidden files such as .git are no obstacle, nor are files as they are written here: those of a command that was killed.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; dlrun init takes a folder")
    if not folder.exists():
        return
    written = _templates()
    found = sorted(path.name for path in folder.glob("[!.]*") if not all(_is_written(path, folder, written)))
    if found:
        raise InputError(f"{folder}: is not empty ({', '.join(found[:3])}{', ...' * (len(found) > 3)}); name a new folder")


def _is_written(path: Path, folder: Path, written: Mapping[Path, bytes]) -> Iterator[bool]:
    """Whether each file at or below a path is one that is written, and as it is written."""
    if path.is_dir():
        for below in path.glob("[!.]*"):
            yield from _is_written(below, folder, written)
    else:
        content = written.get(path.relative_to(folder))
        yield content is not None and path.is_file() and path.read_bytes() == content


def _templates() -> dict[Path, bytes]:
    """The files by their paths in the folder."""
    paths = sorted(path for path in TEMPLATES.rglob("*") if path.suffix in (".py", ".yaml", ".md"))
    return {path.relative_to(TEMPLATES): path.read_bytes() for path in paths}
