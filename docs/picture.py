"""Draw docs/terminal.svg: what the commands below really print, on a terminal of 100 columns.

.venv/bin/python docs/picture.py
"""

import os
import pty
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

COMMANDS = (
    "dlrun dataset=xor activation=tanh",
    "dlrun -m activation=identity,relu,tanh dataset=moons seed=range(0,20)",
)
WIDTH, HEIGHT = 100, 60


def printed(command: str, folder: str) -> str:
    """What ``command`` writes to a terminal, with its colours; lines that were drawn over are gone."""
    main, other = pty.openpty()
    os.environ.update(TERM="xterm-256color", COLUMNS=str(WIDTH), LINES=str(HEIGHT), DLRUN_OUTPUT_DIR="outputs")
    dlrun = str(Path(sys.executable).with_name("dlrun"))
    process = subprocess.Popen([dlrun, *shlex.split(command)[1:]], stdout=other, stderr=other, stdin=other, cwd=folder)
    os.close(other)
    seen = b""
    while True:
        try:
            read = os.read(main, 65536)
        except OSError:  # the terminal is closed when the command ends
            break
        if not read:
            break
        seen += read
    process.wait()
    return settled(seen.decode())


def settled(text: str) -> str:
    """The lines that remain when everything that a progress display erased is taken away."""
    lines: list[str] = [""]
    for part in re.split(r"(\r\n|\n|\r|\x1b\[\d*A|\x1b\[2K|\x1b\[\?25[lh])", text):
        if part in ("\n", "\r\n"):
            lines.append("")
        elif part == "\x1b[2K" or part == "\r":
            lines[-1] = "" if part == "\x1b[2K" else lines[-1]
        elif re.fullmatch(r"\x1b\[\d*A", part):
            del lines[-1]
            lines = lines or [""]
        elif not part.startswith("\x1b[?25"):
            lines[-1] += part
    return "\n".join(lines).strip("\n")


def main() -> None:
    """Run the commands and draw what they print."""
    settings = {"record": True, "width": WIDTH, "force_terminal": True, "color_system": "truecolor"}
    with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w", encoding="utf-8") as nowhere:
        console = Console(file=nowhere, **settings)
        for command in COMMANDS:
            console.print(Text.assemble(("$ ", "green"), (command, "bold")))
            console.print(Text.from_ansi(printed(command, folder).replace(folder, "~")))
            console.print()
    target = Path(__file__).with_name("terminal.svg")
    drawn = re.sub(r"\n *@font-face \{.*?\}", "", console.export_svg(title="dlrun"), flags=re.DOTALL)  # fonts of another host
    target.write_text(drawn, encoding="utf-8")
    print(target)


if __name__ == "__main__":
    main()
