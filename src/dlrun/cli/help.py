"""The text of ``dlrun --help``: written from a folder listing, so that it takes no longer than a blink."""

import textwrap
from collections.abc import Mapping

from dlrun import registry
from dlrun.cli.terminal.screen import columns

INTRODUCTION = """\
dlrun trains neural networks from the parts you name, and tells which parts are better for your data.

usage: dlrun [verb] [group=option ...] [key=value ...] [flags]
"""

FLAGS = """\
Flags, anywhere on the line (all but --import and --tune-over are Hydra's):
  -m, --multirun                run every combination: dlrun -m activation=relu,tanh seed=0,1,2
  -c, --cfg job                 print the composed settings instead of training (--resolve, --package KEY)
  -cd, --config-dir FOLDER      add options of your own: FOLDER/optimizer/mine.yaml is optimizer=mine
      --tune-over SETTINGS      in a sweep: choose them on validation rows, report test figures of new seeds
      --import MODULE           let options name what MODULE.py defines (dlrun init makes an example)
  -cn, --config-name NAME       start from FOLDER/NAME.yaml
  -i, --info [WHAT]             how the settings were composed
  -sc, --shell-completion       for the tab key: eval "$(dlrun -sc install=bash)"; also zsh, fish
  --hydra-help, --version, -h, --help
"""

EXAMPLES = """\
Examples:
  dlrun                                                 the diabetes data with everything as it comes
  dlrun dataset=moons activation=gelu optimizer.lr=0.01
  dlrun dataset=digits model=cnn 'regularizer=[dropout,label_smoothing]'
  dlrun -m optimizer=sgd,adam,adamw seed=0,1,2
  dlrun -m 'activation=glob(*)' trainer=smoke
  dlrun ls optimizer
  dlrun show activation/gelu

Exit codes: 0 all well, 1 a run failed or timeout_s is over, 2 bad input, 3 a gate said no, 4 not settled,
130 and 143 interrupted.
Settings that many runs share: output_dir=PATH or DLRUN_OUTPUT_DIR. HYDRA_FULL_ERROR=1 shows tracebacks."""


def overview(verbs: Mapping[str, str]) -> str:
    """All of ``dlrun --help``. ``verbs``: each verb and what it does."""
    width = min(columns(), 110)
    lines = [INTRODUCTION, "Verbs (dlrun VERB --help tells more):"]
    lines += [f"  {verb:<8} {what}" for verb, what in verbs.items()]
    lines += ["", "Groups and their options (dlrun ls GROUP tells what each is):"]
    groups = registry.groups()
    indent = max(map(len, groups), default=0) + 4
    for group in groups:
        text = " ".join(registry.options(group))
        lines += textwrap.wrap(text, width, initial_indent=f"  {group}".ljust(indent), subsequent_indent=" " * indent)
    return "\n".join([*lines, "", FLAGS, EXAMPLES])
