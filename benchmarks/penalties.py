"""What penalties on weights cost: a step with them over the same step without, at R = 1 and at R = 256.

    .venv/bin/python benchmarks/penalties.py

Processor time of one core; each pair is measured in turn, three times, and the median of the ratios is printed.
"""

import statistics

from dlrun.threads import set_thread_count
from work import NETS, dlrun_step, one_core

PENALTIES = (["l1"], ["l2"], ["l1", "l2"], ["max_norm"])


def main() -> None:
    one_core()
    set_thread_count(1)
    columns = [(name, runs) for name in NETS for runs in (1, 256)]
    print("| step / step without |", " | ".join(f"{name}, R = {runs}" for name, runs in columns), "|")
    print("|---|" + "---:|" * len(columns))
    for penalty in PENALTIES:
        ratios = []
        for name, runs in columns:
            pairs = [dlrun_step(NETS[name], runs, 0.5, regularizer=penalty) / dlrun_step(NETS[name], runs, 0.5) for _ in range(3)]
            ratios.append(statistics.median(pairs))
        print(f"| {', '.join(penalty)} |", " | ".join(f"{ratio:.2f}" for ratio in ratios), "|")


if __name__ == "__main__":
    main()
