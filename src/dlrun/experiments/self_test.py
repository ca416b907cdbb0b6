"""A run of a second whose figures are known: whether training works here, and to the bit."""

from dataclasses import dataclass
from hashlib import sha256

from dlrun.config.composing.from_python import single
from dlrun.config.spec import from_config
from dlrun.engine.trainer import fit
from dlrun.experiments.planning.cohorts import Datasets, plan

WORDS = ("dataset=xor", "model=mlp", "model.hidden=[5]", "activation=tanh", "optimizer=adam", "optimizer.lr=0.02", "seed=0")
MORE = (
    "regularizer=[]",
    "scheduler=constant",
    "loss=bce_with_logits",
    "trainer=default",
    "trainer.epochs=20",
    "trainer.device=cpu",
)
LOSS = 0.0128045  # on validation rows, by both ways of training
DIGEST = "32dce41fc387927f"  # of the weights, by the kernel
NEAR = 1e-4


@dataclass(frozen=True)
class Tested:
    """What came of it.

    Args:
        way: what trained: native or torch.
        loss: on validation rows.
        exact: whether the weights have the known bits.
    """

    way: str
    loss: float
    exact: bool

    @property
    def works(self) -> bool:
        """Whether the figures are the known ones."""
        return abs(self.loss - LOSS) <= NEAR


def self_test() -> Tested:
    """Train it, without writing anything."""
    job = single([*WORDS, *MORE])
    (planned,) = plan([from_config(job.config, job.choices, job.overrides, job.mentioned)], Datasets())
    (outcome,) = fit(planned.cohort)
    digest = sha256(b"".join(outcome.weights[name].tobytes() for name in sorted(outcome.weights))).hexdigest()
    return Tested(outcome.engine, float(outcome.metrics["validation/loss"] or 0.0), digest[:16] == DIGEST)
