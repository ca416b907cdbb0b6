"""A trace as blocks of lines and tables. Small models are written in full, of larger ones the norms and the first numbers.

Shapes: B batch rows, D inputs, H outputs.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from dlrun.report.trace.formulas import filled, listed, shown, signed, softmax
from dlrun.report.trace.steps import Layer, Numbers, Parameter, Step, Trace

MOST_COLUMNS = 10  # of a table of a batch
MOST_ROWS = 16
MOST_ENTRIES = 64  # of a parameter that is written in full
FEWEST = 6  # entries of a larger one


@dataclass(frozen=True)
class Table:
    """A table; the first column has the names of the rows."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Block:
    """What is said of one part of a step."""

    title: str
    lines: Sequence[str] = ()
    tables: Sequence[Table] = ()


def blocks(trace: Trace, row: int) -> list[Block]:
    """All of a trace; ``row`` is the place in the batch of the row that is looked at closely."""
    lines = [f"{name}: {fact}" for name, fact in trace.facts.items()]
    lines += [
        f"{part.group} {part.option}{_settings(part.values)}{': ' if part.formula else ''}{'; '.join(part.formula)}"
        for part in trace.parts
    ]
    return [Block(trace.title, lines), *(block for step in trace.steps for block in _step(trace, step, row))]


def _settings(values: Mapping[str, Any]) -> str:
    items = [f"{name}={'null' if value is None else value}" for name, value in values.items()]
    return f" ({', '.join(items)})" if items else ""


def _step(trace: Trace, step: Step, row: int) -> Iterator[Block]:
    row = min(row, len(step.rows) - 1)
    head = f"Step {step.number}, epoch {step.epoch}"
    yield _batch(trace, step, row, head)
    for number, layer in enumerate(step.layers, 1):
        yield _forward(step, layer, number, row, head)
    yield _prediction(trace, step, row, head)
    yield _loss(trace, step, row, head)
    yield _backward(step, head)
    yield _update(trace, step, head)


def _batch(trace: Trace, step: Step, row: int, head: str) -> Block:
    lines = [
        f"x {_shape(step.x)}, y {_shape(step.targets)}: the training rows of this batch, inputs as the model is given them",
        f"row {row} of the batch, row {step.rows[row]} of the data, is the one that is looked at closely",
    ]
    x, names = step.x, list(trace.features)
    if x.ndim != 2 or x.shape[1] != len(names):
        names = [f"x{place + 1}" for place in range(prod(x.shape[1:]))]
        x = x.reshape(len(x), -1)
    columns = [f"y {name}" for name in trace.targets] if step.targets.ndim == 2 else ["y"]
    targets = step.targets.reshape(len(step.targets), -1)
    table = _table("The batch", step, names, x, row)
    if targets.shape[1] == len(columns) and targets.shape[1] <= MOST_COLUMNS:
        texts = [[_target(trace, value) for value in line] for line in targets.tolist()]
        picked = _picked(len(step.rows), row)
        rows = [[*line, *texts[place]] for line, place in zip(table.rows, picked, strict=True)]
        table = Table(table.caption, [*table.head, *columns], rows)
    return Block(f"{head}: the batch", lines, [table])


def _target(trace: Trace, value: float) -> str:
    if trace.classes and value == int(value) and int(value) < len(trace.classes) and trace.exclusive:
        return f"{int(value)} ({trace.classes[int(value)]})"
    return shown(value)


def _forward(step: Step, layer: Layer, number: int, row: int, head: str) -> Block:
    lines = [f"{_shape(layer.input)} -> {_shape(layer.output)}"]
    if layer.kind == "linear":
        lines = [f"z = x W + b: {lines[0]}", *_product(step, layer, row)]
    flat = layer.output.reshape(len(layer.output), -1)
    before = number < len(step.layers) and step.layers[number].kind in ("activation", "head")
    what = "Pre-activation z" if before else {"linear": "Output z", "activation": "Output a"}.get(layer.kind, "Output")
    lines += [] if flat.shape[1] <= MOST_COLUMNS else [_summary(flat)]
    table = _table(what, step, [f"{place + 1}" for place in range(flat.shape[1])], flat, row)
    return Block(f"{head}, forward, layer {number}: {layer.name}", lines, [table])


def _product(step: Step, layer: Layer, row: int) -> list[str]:
    """The first unit of a row, with its numbers filled in."""
    known = {parameter.name: parameter.before for parameter in step.parameters}
    weight, bias = (known.get(name) for name in layer.parameters[:2])
    if weight is None or bias is None or layer.input.ndim != 2:
        return []
    x, w = layer.input[row], weight[:, 0]
    terms = [f"{signed(a)} * {signed(b)}" for a, b in zip(x[:FEWEST].tolist(), w[:FEWEST].tolist(), strict=True)]
    more = f" + ... ({len(x)} terms)" if len(x) > FEWEST else ""
    result = shown(float(layer.output[row].ravel()[0]))
    return [f"row {row}, unit 1: {' + '.join(terms)}{more} + {signed(float(bias.ravel()[0]))} = {result}"]


def _prediction(trace: Trace, step: Step, row: int, head: str) -> Block:
    scores, lines = step.scores[row], []
    if step.probability is None:
        lines.append(f"row {row}: {listed(step.output[row])}, target {listed(step.y[row])}")
        if not np.array_equal(step.prediction, step.output):
            lines.append(f"in the units of the data: {listed(step.prediction[row])}, target {listed(step.targets[row])}")
        return Block(f"{head}: the prediction", lines)
    p = step.probability[row]
    if trace.exclusive and scores.ndim == 1 and scores.size > 1:
        lines.append(f"softmax({listed(scores)}) = {listed(softmax(scores))}")
        if not np.allclose(p, softmax(scores), atol=1e-6):
            lines.append(f"probabilities, by this head and loss: {listed(p)}")
        true = step.y[row]
        hot = true if true.ndim else np.eye(scores.size)[int(true)]
        lines.append(f"target as one-hot: [{', '.join(f'{value:g}' for value in hot.tolist())}]")
        place = int(p.argmax())
        lines.append(f"predicted: class {place}{_name(trace, place)}, the most probable one")
    elif scores.ndim <= 1:
        lines.append(f"sigmoid({listed(scores)}) = {listed(p)}" if not np.allclose(scores, p) else f"probability {listed(p)}")
        chosen = [str(int(value > 0.5)) for value in p.ravel().tolist()]
        lines.append(f"threshold 0.5: {', '.join(chosen)}; target {listed(step.y[row])}")
    else:
        lines.append(f"probabilities of row {row}: {listed(p)}")
    return Block(f"{head}: the prediction", lines)


def _name(trace: Trace, place: int) -> str:
    return f" ({trace.classes[place]})" if place < len(trace.classes) else ""


def _loss(trace: Trace, step: Step, row: int, head: str) -> Block:
    part = trace.part("loss")
    lines = [f"{part.option}: {'; '.join(part.formula)}" if part.formula else part.option]
    one = filled(part.option, part.values, step.y[row], step.output[row], float(step.row_losses[row]))
    lines += [f"row {row}: {one}"] if one else []
    lines.append(f"loss of the batch: {shown(step.loss)}")
    if not np.isfinite(step.row_losses).all():
        return Block(f"{head}: the loss", lines)
    picked = _picked(len(step.rows), row)
    rows = [[_row(step, place), shown(float(step.row_losses[place]))] for place in picked]
    return Block(f"{head}: the loss", lines, [Table("Loss of each row", ["row", "loss"], rows)])


def _backward(step: Step, head: str) -> Block:
    """From the last layer to the first."""
    known = {parameter.name: parameter for parameter in step.parameters}
    rows, tables = [], []
    for number in range(len(step.layers), 0, -1):
        layer = step.layers[number - 1]
        if layer.gradient is not None:
            rows.append([f"{number} {layer.name}: output", *_measured(layer.gradient)])
        rows += [[f"{number} {name}", *_measured(known[name].gradient)] for name in layer.parameters if name in known]
        tables += [_matrix(f"dL/d {name}", known[name].gradient) for name in layer.parameters if name in known]
    lines = ["The derivative of the loss with respect to what each layer puts out, and to its parameters, from the last layer."]
    table = Table("Gradients", ["layer", "shape", "norm", "zeros", "largest"], rows)
    return Block(f"{head}, backward: the gradients", lines, [table, *(each for each in tables if each is not None)])


def _measured(values: Numbers) -> list[str]:
    size = float(np.abs(values).max()) if values.size else 0.0
    return [_shape(values), shown(float(np.linalg.norm(values.ravel()))), f"{float((values == 0).mean()):.0%}", shown(size)]


def _matrix(caption: str, values: Numbers) -> Table | None:
    if values.size > MOST_ENTRIES or values.ndim > 2 or values.shape[-1] > MOST_COLUMNS:
        return None
    rows = values.reshape(-1, values.shape[-1])
    names = [f"unit {place + 1}" for place in range(rows.shape[1])]
    return Table(caption, ["", *names], [[str(place + 1), *map(shown, line)] for place, line in enumerate(rows.tolist())])


def _update(trace: Trace, step: Step, head: str) -> Block:
    part = trace.part("optimizer")
    lines = [f"{part.option}: {'; '.join(part.formula)}", f"learning rate of this step: {step.lr:g}"]
    added = any(not np.array_equal(each.gradient, each.taken) for each in step.parameters)
    if added:
        lines.append("what the optimizer is given is the gradient of the loss with those of penalties, and clipped")
    if step.unclipped != step.norm:
        lines.append(f"clipped: the norm of the gradient was {shown(step.unclipped)}, and is {shown(step.norm)}")
    lines.append(f"loss of the same batch after this step: {shown(step.after)} (before: {shown(step.loss)})")
    tables = [_updated(part.option, parameter, step.lr, added) for parameter in step.parameters]
    return Block(f"{head}: the update", lines, tables)


def _updated(optimizer: str, parameter: Parameter, lr: float, added: bool) -> Table:
    """Each entry before and after, with what plain gradient descent would make of it."""
    remembered = list(parameter.remembered)
    columns = ["entry", "w", "gradient", *(["given"] if added else []), "w - lr * gradient", f"w after {optimizer}", *remembered]
    size = parameter.before.size
    shownof = range(size if size <= MOST_ENTRIES else FEWEST)
    rows = []
    for place in shownof:
        w, gradient, taken, after = (
            float(values.ravel()[place]) for values in (parameter.before, parameter.gradient, parameter.taken, parameter.after)
        )
        by_hand = f"{shown(w)} - {lr:g} * {signed(taken)} = {shown(w - lr * taken)}"
        kept = [shown(float(values.ravel()[place])) for values in parameter.remembered.values()]
        where = ", ".join(str(each + 1) for each in np.unravel_index(place, parameter.before.shape))
        rows.append([f"[{where}]", shown(w), shown(gradient), *([shown(taken)] if added else []), by_hand, shown(after), *kept])
    change = float(np.linalg.norm((parameter.after - parameter.before).ravel()))
    more = f", the first {FEWEST} of {size:,} entries" if size > MOST_ENTRIES else ""
    return Table(f"{parameter.name} {_shape(parameter.before)}: moved by {shown(change)}{more}", columns, rows)


def _picked(rows: int, row: int) -> list[int]:
    """The places of the rows that a table has: all of a small batch, else the first and the one that is looked at."""
    return list(range(rows)) if rows <= MOST_ROWS else sorted({*range(MOST_ROWS - 1), row})


def _row(step: Step, place: int) -> str:
    return f"{place} (row {step.rows[place]})"


def _table(caption: str, step: Step, names: Sequence[str], values: Numbers, row: int) -> Table:
    """Numbers [B, D] with a line for each row of the batch that is shown."""
    members = len(values) // len(step.rows)  # of a pair or triplet, rows go through the model one by one
    columns = range(min(values.shape[1], MOST_COLUMNS))
    more = values.shape[1] - len(columns)
    rows = []
    for place in _picked(len(step.rows), row):
        for member in range(members):
            line = [shown(value) for value in values[place * members + member, columns].tolist()]
            name = _row(step, place) + (f" member {member + 1}" if members > 1 else "")
            rows.append([name, *line, *(["..."] if more else [])])
    head = ["row", *(names[place] for place in columns), *([f"({more:,} more)"] if more else [])]
    return Table(caption, head, rows)


def _summary(values: Numbers) -> str:
    return (
        f"all rows: mean {shown(float(values.mean()))}, from {shown(float(values.min()))} to {shown(float(values.max()))}, "
        f"zeros {float((values == 0).mean()):.0%}"
    )


def _shape(values: Numbers) -> str:
    return f"[{', '.join(map(str, values.shape))}]"
