#!/bin/sh
# torch.func.vmap over torch.nn.functional.embedding forgets padding_idx in the gradient, when the gradient is taken outside of vmap.
#
# padding_idx says that the row of the weights gets no gradient. With weights and indices both batched by vmap, and backward() called
# on what vmap returns, the row gets one: the decomposition that vmap uses flattens weights and indices into one lookup, in which the
# padding row of each member is another number. torch.func.grad inside vmap, or a loop over the members, gives zeros. Stacked models
# that are trained with one optimizer thus learn a vector for the padding.
#
# Seen with torch 2.13.0 (CPU), Python 3.11:
#   loop over members:         [[0.0, 0.0], [0.0, 0.0]]
#   grad inside vmap:          [[0.0, 0.0], [0.0, 0.0]]
#   backward outside of vmap:  [[0.0, 0.0], [2.0, 2.0]]
# The first member is right by chance: its padding row is row 0 of the flattened weights.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import torch
from torch.func import grad, vmap
from torch.nn.functional import embedding

weights = torch.ones(2, 4, 2)
indices = torch.tensor([[0, 1, 0, 2], [0, 1, 0, 2]])


def looked_up(weight, index):
    return embedding(index, weight, padding_idx=0)


loop = torch.stack([grad(lambda weight: looked_up(weight, index).sum())(weight) for weight, index in zip(weights, indices)])
inside = vmap(grad(lambda weight, index: looked_up(weight, index).sum()))(weights, indices)
leaf = weights.clone().requires_grad_()
vmap(looked_up)(leaf, indices).sum().backward()
outside = leaf.grad
print("loop over members:        ", loop[:, 0].tolist())
print("grad inside vmap:         ", inside[:, 0].tolist())
print("backward outside of vmap: ", outside[:, 0].tolist())
assert not loop[:, 0].any() and not inside[:, 0].any()
assert outside[:, 0].tolist() == [[0.0, 0.0], [2.0, 2.0]], "it has changed"
PYTHON
