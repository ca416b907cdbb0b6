"""The text of ``dlrun --help``: one screen, written from a folder listing, so that it takes no longer than a blink."""

import textwrap
from collections.abc import Mapping

from dlrun import registry
from dlrun.cli.terminal.screen import columns

INTRODUCTION = """\
dlrun trains neural networks from the parts you name, and tells which parts are better for your data.
usage: dlrun [verb] [group=option ...] [key=value ...] [flags]
"""

TOGETHER = {  # verbs that share a line, and what it says of them
    ("resume", "status"): "train what a sweep has not finished; tell how far it is",
    ("ls", "show"): "list the options of a group; explain one: formula, parameters, source, a drawing",
    ("runs", "note"): "list, find and delete the runs that are kept; write a note on one",
    ("predict", "evaluate"): "predict the rows of a file with runs that are kept; measure them on such a file",
    ("export", "import"): "write a run as a folder; take run folders, and outputs of an older dlrun, in",
}

FLAGS = """\
Flags, anywhere on the line (--hydra-help has the others of Hydra's: -cn, -cp, -i, -p, -r):
  -m, --multirun             run every combination: dlrun -m activation=relu,tanh 'seed=range(0,10)'
  -c, --cfg job              print the composed settings instead of training
  -cd, --config-dir FOLDER   add options of your own: FOLDER/optimizer/mine.yaml is optimizer=mine
  --tune-over SETTINGS       in a sweep: choose them on validation rows, report test figures of new seeds
  --import MODULE            let options name what MODULE.py defines (dlrun init makes an example)
  --json                     print one JSON document instead of tables (docs/json.md)
  -sc, --shell-completion    for the tab key: eval "$(dlrun -sc install=bash)"; also zsh, fish
  --version, -h, --help      dlrun VERB --help has the words and examples of a verb

Exit codes: 0 all well, 1 a run failed or timeout_s is over, 2 bad input, 3 a gate said no, 4 not settled,
130 and 143 interrupted."""


def overview(verbs: Mapping[str, str]) -> str:
    """All of ``dlrun --help``. ``verbs``: each verb and what it does."""
    width = min(columns(), 110)
    lines = [INTRODUCTION, "Verbs:"]
    shared = {verb: (pair, said) for pair, said in TOGETHER.items() for verb in pair}
    for verb, what in verbs.items():
        pair, said = shared.get(verb, ((verb,), what))
        if verb == pair[0]:
            lines.append(f"  {', '.join(pair):<18}{said}")
    groups = f"Groups (dlrun ls lists their options): {' '.join(registry.groups())}"
    lines += ["", *textwrap.wrap(groups, width, subsequent_indent="  "), ""]
    return "\n".join([*lines, FLAGS])
