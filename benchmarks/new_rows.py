"""How often a learner that is better on new rows is found to be: gelu against tanh on Friedman's function (1991, "MARS").

    .venv/bin/python benchmarks/new_rows.py        a few minutes; the figures of docs/verdicts.md

40 samples of 200 rows, 20 runs of each activation: as 20 seeds, 5 folds x 4 seeds, and 10 folds x 2 seeds.
"""

import os
import tempfile
from pathlib import Path

import pandas as pd
from sklearn.datasets import make_friedman1

import dlrun

SAMPLES = 40
DESIGNS: dict[str, dict[str, object]] = {
    "20 seeds": {"seed": range(20)},
    "5 folds x 4 seeds": {"seed": range(4), "dataset.folds": 5},
    "10 folds x 2 seeds": {"seed": range(2), "dataset.folds": 10},
}


def verdicts(path: Path, design: dict[str, object]) -> tuple[str, float]:
    """What is said of tanh, with gelu as the reference: on new rows, and by how much gelu leads in test r2."""
    words = (
        "dataset=csv",
        f"dataset.path={path}",
        "dataset.target=y",
        "model.hidden=[32]",
        "trainer.epochs=200",
        "optimizer.lr=0.01",
    )
    table = dlrun.sweep(*words, "baseline=[]", activation=["gelu", "tanh"], progress=False, **design)
    compared = dlrun.compare(table, reference="gelu").set_index("activation")
    mean = compared["test/r2 mean"]
    return str(compared.loc["tanh", "new rows verdict"]), float(mean["gelu"] - mean["tanh"])


def main() -> None:
    print("| 40 samples of 200 rows | gelu better on new rows | lead in r2 |\n|---|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for name, design in DESIGNS.items():
            found, leads = 0, 0.0
            for sample in range(SAMPLES):
                x, y = make_friedman1(200, noise=1.0, random_state=sample)
                path = Path(folder) / f"{sample}.csv"
                pd.DataFrame(x).add_prefix("x").assign(y=y).to_csv(path, index=False)
                said, lead = verdicts(path, design)
                found += said.startswith("worse")
                leads += lead / SAMPLES
            print(f"| {name} | {found} | {leads:.3f} |", flush=True)


if __name__ == "__main__":
    main()
