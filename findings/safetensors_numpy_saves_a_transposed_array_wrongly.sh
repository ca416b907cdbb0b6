#!/bin/sh
# safetensors.numpy.save writes an array that is not contiguous with other values, and says nothing.
#
# The docstring asks for contiguous tensors; nothing checks it, and what is read back has the right shape. A transposed matrix comes
# back with the numbers of the matrix itself in the shape of its transpose; every second element of a vector comes back as the first
# half of that vector. safetensors.torch.save refuses such tensors with a ValueError. np.ascontiguousarray(array) before saving helps.
#
# Seen with safetensors 0.8.0, numpy 2.4.6, Python 3.11:
#   saved [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]] read [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]
#   saved [0, 2, 4, 6, 8] read [0, 1, 2, 3, 4]
#   contiguous copies: read as saved
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q safetensors==0.8.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
from safetensors.numpy import load, save

matrix = np.arange(6, dtype=np.float32).reshape(2, 3).T
vector = np.arange(10)[::2]
for array, read in ((matrix, [[0, 1], [2, 3], [4, 5]]), (vector, [0, 1, 2, 3, 4])):
    found = load(save({"array": array}))["array"]
    print("saved", array.tolist(), "read", found.tolist())
    assert found.shape == array.shape
    assert found.tolist() == read != array.tolist(), "it has changed"
    copy = np.ascontiguousarray(array)
    assert load(save({"array": copy}))["array"].tolist() == array.tolist()
print("contiguous copies: read as saved")
PYTHON
