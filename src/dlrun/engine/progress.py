"""What the trainer tells about itself while it works: plain numbers, for whoever draws them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """One report of a cohort at work. Losses and metrics are means over the runs still training."""

    runs: int  # rows of the cohort
    finished: int  # rows done, stopped early or diverged
    diverged: int
    epoch: int  # epochs completed
    epochs: int
    step: int  # optimizer steps completed
    steps: int
    seconds: float  # since training began
    loss: float  # training loss of the last epoch
    metric_name: str  # "validation/r2", for example
    metric: float  # the selecting metric
