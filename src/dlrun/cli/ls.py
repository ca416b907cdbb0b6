"""``dlrun ls``: what can be selected, read from the conf tree."""

import sys
from collections.abc import Sequence
from typing import Any

from dlrun import registry
from dlrun.cli.arguments import IMPORT, JSON, parse
from dlrun.cli.terminal.screen import console, show_json, write_line

USAGE = """\
usage: dlrun ls [group ...] [--json] [--config-dir FOLDER] [--import MODULE]

Lists the options of the groups, or of every group: what can stand in group=option, and what each is. In a pipe there is one
option a line. Options are files, so nothing is imported to list them.

Examples:
  dlrun ls
  dlrun ls optimizer
  dlrun ls activation loss
  dlrun ls | grep Kingma
"""


def run(words: Sequence[str]) -> int:
    """Print the options of the groups named in ``words``, or of all groups.

    Raises:
        InputError: there is no such group.
    """
    arguments = parse(words, takes=("--config-dir", IMPORT, JSON))
    if "--config-dir" in arguments.flags:
        registry.add_folder(arguments.flags["--config-dir"])
    for group in arguments.overrides:
        registry.check_group(group)
    listed = {group: registry.options(group) for group in arguments.overrides or registry.groups()}
    if JSON in arguments.flags:
        show_json({group: _described(group, names) for group, names in listed.items()})
    elif sys.stdout.isatty():
        _tables(listed)
    else:
        names = {f"{group}={name}": registry.summary(group, name) for group, names in listed.items() for name in names}
        width = max(map(len, names), default=0)
        for name, summary in names.items():
            write_line(f"{name:<{width}}  {summary}", sys.stdout)
    return 0


def _described(group: str, names: list[str]) -> list[dict[str, Any]]:
    chosen = registry.defaults().get(group, [])
    return [{"name": name, "summary": registry.summary(group, name), "default": name in chosen} for name in names]


def _tables(listed: dict[str, list[str]]) -> None:
    from rich.table import Table
    from rich.text import Text

    output = console()
    chosen = registry.defaults()
    width = max(len(name) for names in listed.values() for name in names)
    for group, names in listed.items():
        table = Table(
            title=Text(group, style="bold"), title_justify="left", box=None, show_header=False, padding=(0, 1), pad_edge=False
        )
        table.add_column(width=1)
        table.add_column(style="cyan", no_wrap=True, min_width=width)
        table.add_column()
        for name in names:
            table.add_row("*" if name in chosen.get(group, []) else "", name, registry.summary(group, name))
        output.print(table)
        output.print()
    output.print("* when nothing else is said; dlrun show GROUP/OPTION explains one", style="dim")
