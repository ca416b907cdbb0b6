"""Which components fit together.

The head (what stands behind the last layer) follows from the loss unless the user sets it. Known mistakes are refused before
anything trains, each with its reason and its fix; ``allow_mismatch=true`` turns the refusal into a warning where the mistake can
be measured, because measuring it is a legitimate experiment.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, wraps
from typing import Any

from dlrun.components.regularizers import AroundActivation, Augmentation, BatchTransform, LabelSmoothing, Stop
from dlrun.components.tasks import TASKS, Task
from dlrun.engine.cohort import DEFAULT_THRESHOLD
from dlrun.engine.components import Component
from dlrun.engine.models.model import LayerSpec
from dlrun.engine.models.module import takes_activation
from dlrun.lazy import Tensor, torch

HEADS = ("value", "logit", "probability", "softmax", "log_probability", "embedding")
LOSS_FACTS: dict[str, Any] = {"tasks": [], "head": "value", "soft_targets": False, "prediction": "auto"}
_PLAIN = ("value", "logit", "embedding")  # nothing behind the last layer


@dataclass(frozen=True)
class Fit:
    """How a loss, a head and a task go together: what is wrong, what is odd, and what the engine shall use."""

    problems: tuple[str, ...]
    warnings: tuple[str, ...]
    loss: Component
    head: str
    prediction: str


def check(
    *,
    task: Task,
    loss: Component,
    facts: Mapping[str, Any],
    head: str,
    activation: Component,
    regularizers: Sequence[Component],
    validation: float,
    insist: bool,
) -> Fit:
    """Apply the rules. ``facts`` is what the loss's YAML says beside its hyperparameters; ``insist`` is allow_mismatch."""
    wants = str(facts["head"])
    chosen = wants if head == "auto" else head
    mistakes, refusals, warnings = [], [], []
    if not task.served_by(facts["tasks"]):
        values_alone = bool(facts["tasks"]) and all(name in TASKS and TASKS[name].scaled for name in facts["tasks"])
        message = _wrong_task(loss.name, facts["tasks"], task, values_alone)
        one_class = task.exclusive and not task.pixels
        labels = [name for name, other in TASKS.items() if other.link == "sigmoid" and not other.two_classes]
        if one_class and any(name in facts["tasks"] for name in labels):
            warnings.append(
                f"loss={loss.name} on exclusive classes: each class gets a sigmoid of its own, and they need not sum to 1; "
                "loss=cross_entropy is made for them"
            )
            loss = replace(loss, function=on_one_hot(loss.function))
        elif (one_class or task.two_classes) and values_alone:
            mistakes.append(message)
            loss = replace(loss, function=on_one_hot(loss.function)) if one_class else loss
        else:
            refusals.append(message)
    if _kind(chosen) != _kind(wants):
        mistakes.append(_wrong_head(loss.name, wants, chosen))
    if task.exclusive and not task.pixels and chosen == "probability" and _kind(wants) == "probability" and head != "auto":
        warnings.append("model.head=probability on exclusive classes: the sigmoids need not sum to 1")
    if activation.target == "torch.nn.Softmax":
        warnings.append(
            "activation=softmax in hidden layers: units compete for a sum of 1, which hardly ever helps; it is made for outputs"
        )
    for regularizer in regularizers:
        refusals += _regularizer_problems(regularizer, task, loss.name, bool(facts["soft_targets"]), validation)
    if insist:
        warnings += [f"{mistake} (measured all the same, since allow_mismatch=true)" for mistake in mistakes]
    else:
        refusals += [f"{mistake}, or measure the mistake with allow_mismatch=true" for mistake in mistakes]
    prediction = str(facts["prediction"]) if head == "auto" or chosen == wants else "auto"
    if prediction == "auto":
        prediction = _prediction(chosen, wants, task)
    return Fit(tuple(refusals), tuple(warnings), loss, chosen, prediction)


def module_problems(module: Component, activation: Component, learnable: bool, regularizers: Sequence[Component]) -> list[str]:
    """What does not go together with a user's module as the model."""
    found = [
        f"regularizer.{part.name}: stands at the activations of dlrun's own models, and model={module.name} is none of them; "
        "put such a layer into the module, or leave it out"
        for part in regularizers
        if is_around(part)
    ]
    if learnable and takes_activation(module):
        found.append(
            f"activation={activation.name}: learns parameters in dlrun's models alone, and model={module.name} is none of them; "
            "type activation.learnable=false"
        )
    return found


def threshold_problems(threshold: Any, task: Task | None) -> list[str]:
    """What is wrong with a threshold of probabilities for such a task."""
    if threshold == DEFAULT_THRESHOLD or task is None or (task.link == "sigmoid" and task.classes):
        return []
    why = "the likeliest class is predicted" if task.exclusive else "nothing is predicted by a threshold"
    return [f"threshold={threshold}: is for two classes and for labels, and in {task.name} data {why}; leave threshold out"]


def is_around(part: Component) -> bool:
    """Whether a regularizer stands at activations."""
    return isinstance(part.function, type) and issubclass(part.function, AroundActivation)


def without_effect(model: str, layers: Sequence[LayerSpec], regularizers: Sequence[Component], asked: Sequence[str]) -> list[str]:
    """Warnings for an activation that was ``asked`` for and regularizers that stand at activations, where the model has none."""
    if any(layer.kind == "activation" for layer in layers):
        return []
    chosen = any(word.lstrip("+").startswith(("activation=", "activation.")) for word in asked)
    odd = [f"activation: has no effect, since model={model} has none; leave it out, or take a model with hidden layers"]
    return odd * chosen + [
        f"regularizer.{part.name}: has no effect, since it stands at activations and model={model} has none; "
        "leave it out, or take a model with hidden layers"
        for part in regularizers
        if is_around(part)
    ]


def _kind(head: str) -> str:
    return "plain" if head in _PLAIN else head


def _prediction(head: str, wants: str, task: Task) -> str:
    """How the model's output becomes a prediction."""
    if head in ("probability", "softmax") or not task.classes:
        return "identity"
    if "log_probability" in (head, wants):
        return "exp"
    if wants in ("probability", "value"):
        return "identity"
    return task.link


def _wrong_task(loss: str, tasks: Sequence[str], task: Task, values_alone: bool) -> str:
    no_distances = values_alone and task.classes
    why = "class labels have no distances" if no_distances else f"it is made for {', '.join(tasks)}"
    return f"loss={loss}: does not serve {task.name} data, since {why}; type loss={task.loss}"


def _wrong_head(loss: str, wants: str, chosen: str) -> str:
    twice = {"softmax": "softmax", "probability": "the sigmoid"}.get(chosen)
    if twice and wants == "logit":
        why, remedy = f"the loss applies {twice} itself, so it would act twice", "logit"
    elif wants == "probability":
        why, remedy = "the loss takes the logarithm of a probability", "probability"
    elif wants == "log_probability":
        why, remedy = "the loss wants the output of LogSoftmax", "log_probability"
    else:
        why, remedy = f"the loss wants the head '{wants}'", wants
    return f"model.head={chosen} with loss={loss}: {why}; type model.head={remedy}"


def _regularizer_problems(part: Component, task: Task, loss: str, soft: bool, validation: float) -> list[str]:
    if part.function is LabelSmoothing and (task.pixels or not task.classes):
        return [f"regularizer.{part.name}: there are no labels to smooth in {task.name} data; leave it out"]
    kind = part.function if isinstance(part.function, type) else object
    mixes = kind is Augmentation and part.values.get("kind") == "mixup"
    softens = mixes or (issubclass(kind, BatchTransform) and kind.soft_targets)
    if softens and not task.scaled and not soft:
        why = f"makes targets soft, and loss={loss} takes class labels only"
        other = f"type loss={task.loss} or leave it out" if task.loss != loss else "leave it out"
        return [f"regularizer.{part.name}: {why}; {other}"]
    if issubclass(kind, Stop) and validation == 0:
        return [f"regularizer.{part.name}: watches validation rows, and there are none; type dataset.validation=0.2"]
    return []


@cache
def on_one_hot(loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A loss that takes class indices [R, B], by turning them into rows of the identity [R, B, K]."""

    @wraps(loss)
    def one_hot(output: Tensor, target: Tensor, **values: Any) -> Tensor:
        soft = target if target.is_floating_point() else torch.nn.functional.one_hot(target, output.shape[2]).to(output.dtype)
        return loss(output, soft, **values)

    return one_hot
