"""How long small commands take in a process that has imported everything: most of that is composing their settings.

    python benchmarks/compose.py            CPU seconds of each command, the least of 5, with files and options known
    python benchmarks/compose.py --first    the same for the first command of its kind in a process

CPU seconds, on an Intel Xeon with 2 cores, Python 3.11, torch 2.13, one thread; before and after dlrun had a config loader of its
own (decision 19). What is left of the time is training.

                                                      before   after   ratio
    dlrun seed=0                                        0.29    0.07    0.25
    dlrun -m seed=0,1                                   0.42    0.13    0.30
    dlrun -m activation=relu,tanh                       0.83    0.25    0.31
    dlrun -m optimizer=sgd,adam,rmsprop activation=..   0.90    0.25    0.27
    dlrun --cfg job                                     0.13    0.04    0.30
"""

import io
import os
import sys
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from time import process_time

COMMANDS = (
    ("seed=0",),
    ("-m", "seed=0,1", "reuse=false"),
    ("-m", "activation=relu,tanh", "reuse=false"),
    ("-m", "optimizer=sgd,adam,rmsprop", "activation=relu,tanh", "reuse=false"),
    ("--cfg", "job"),
)
SHORT = ("trainer=smoke", "logger=none")
REPEATS = 5


def seconds(words: tuple[str, ...]) -> float:
    """CPU seconds of one command."""
    from dlrun.cli.main import main

    out = io.StringIO()
    with redirect_stdout(out), redirect_stderr(out):
        begin = process_time()
        code = main(words)
    if code:
        raise SystemExit(out.getvalue())
    return process_time() - begin


def first(words: tuple[str, ...]) -> float:
    """The same in a new process, where a like command with other words has imported what is needed."""
    code = f"import compose; compose.seconds(('seed=9', *compose.SHORT)); print(compose.seconds({words!r}))"
    with os.popen(f'{sys.executable} -c "{code}"') as answer:
        return float(answer.read())


def main() -> None:
    """Print the table."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ["PYTHONPATH"] = os.path.dirname(os.path.abspath(__file__))
    alone = "--first" in sys.argv
    os.chdir(tempfile.mkdtemp())
    if not alone:
        seconds(("-m", "seed=7,8", *SHORT))
    for command in COMMANDS:
        words = (*command, *SHORT)
        took = min(first(words) if alone else seconds(words) for _ in range(REPEATS))
        print(f"{took:6.3f} s   dlrun {' '.join(words)}")


if __name__ == "__main__":
    main()
