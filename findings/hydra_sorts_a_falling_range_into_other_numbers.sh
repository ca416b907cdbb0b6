#!/bin/sh
# Hydra's sort() of a range with a negative step sweeps over numbers that the range does not hold.
#
# range(10,0,-3) is 10, 7, 4, 1. sort() makes the rising range of it by swapping and shifting the ends, which gives the same numbers
# only where the step divides the distance: sort(range(10,0,-3)) sweeps over 3, 6, 9 and 12, four jobs with values nobody asked for.
# A list of the numbers is sorted as it should be.
#
# Seen with hydra-core 1.3.8 and omegaconf 2.3.1, Python 3.11:
#   range(10,0,-3)       [10, 7, 4, 1]
#   sort(range(10,0,-3)) [3, 6, 9, 12]
#   sort(10,7,4,1)       [1, 4, 7, 10]
#   sort(range(10,1,-3)) [4, 7, 10]
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q hydra-core==1.3.8 omegaconf==2.3.1
"$folder/venv/bin/python" - <<'PYTHON'
from hydra.core.override_parser.overrides_parser import OverridesParser

seen = {
    "range(10,0,-3)": [10, 7, 4, 1],
    "sort(range(10,0,-3))": [3, 6, 9, 12],
    "sort(10,7,4,1)": [1, 4, 7, 10],
    "sort(range(10,1,-3))": [4, 7, 10],
}
parser = OverridesParser.create()
for text, expected in seen.items():
    found = [int(value) for value in parser.parse_override(f"x={text}").sweep_string_iterator()]
    print(f"{text:20} {found}")
    assert found == expected, "it has changed"
PYTHON
