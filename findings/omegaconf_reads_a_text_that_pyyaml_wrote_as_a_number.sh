#!/bin/sh
# The text "1e3", written by yaml.safe_dump, is the number 1000.0 when OmegaConf reads the file, as it is for json and PyYAML not.
#
# PyYAML follows YAML 1.1, where 1e3 is no number (a float needs a dot), so it writes the text without quotation marks and reads it
# back as text. OmegaConf loads with its own resolver, for which 1e3 and 1e-3 are floats. A config whose version, name or label looks
# so changes its type between a program that writes it with PyYAML and a Hydra application that reads it. OmegaConf.to_yaml writes
# the quotation marks.
#
# Seen with omegaconf 2.3.1, PyYAML 6.0.3, Python 3.11:
#   written  {label: 1e3, part: 1e-3}
#   PyYAML    {'label': '1e3', 'part': '1e-3'}
#   OmegaConf {'label': 1000.0, 'part': 0.001}
#   to_yaml   label: '1e3'
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q omegaconf==2.3.1 PyYAML==6.0.3
"$folder/venv/bin/python" - <<'PYTHON'
import yaml
from omegaconf import OmegaConf

text = yaml.safe_dump({"label": "1e3", "part": "1e-3"}, default_flow_style=True)
print("written ", text.strip())
print("PyYAML   ", yaml.safe_load(text))
found = OmegaConf.to_container(OmegaConf.create(text))
print("OmegaConf", found)
print("to_yaml  ", OmegaConf.to_yaml({"label": "1e3"}).strip())
assert yaml.safe_load(text) == {"label": "1e3", "part": "1e-3"}
assert found == {"label": 1000.0, "part": 0.001}, "it has changed"
assert OmegaConf.to_yaml({"label": "1e3"}).strip() == "label: '1e3'"
PYTHON
