"""Hydra's own settings: those that do something here, and what to type instead of the others.

dlrun decides itself where runs are kept and what is logged, so many of Hydra's settings have nothing to act on. They are refused,
since a setting that is accepted and ignored makes results look like others than they are.
"""

from collections.abc import Sequence

from dlrun.errors import nearest

EFFECTIVE = {
    "mode": "RUN or MULTIRUN: whether values that a file lists are swept over",
    "searchpath": "more folders with options",
    "launcher": "how a sweep is carried out: processes, memory_share, executor, address and parameters of dlrun's own launcher",
    "sweeper": "what is swept: params of dlrun's own sweeper",
    "callbacks": "code of the user's own around runs that the command starts",
    "job_logging": "what Python's logging does with messages of the user's own code",
    "hydra_logging": "the same for Hydra's messages",
    "job.env_set": "environment variables of the runs",
    "job.env_copy": "the same, copied from the command's environment",
}
"""Keys under ``hydra`` (and below them) that do something, and what."""

ELSEWHERE = {
    "run.dir": "output_dir=PATH",
    "sweep.dir": "output_dir=PATH",
    "sweep.subdir": "output_dir=PATH",
    "output_subdir": "output_dir=PATH",
    "job.chdir": "output_dir=PATH",
    "job.name": "name=NAME",
    "sweeper.max_batch_size": "hydra.launcher.memory_share=0.1",
}
"""Keys that do something with another launcher alone, and what to type with dlrun's own."""

INSTEAD = {
    "run": "output_dir=PATH",
    "sweep": "output_dir=PATH",
    "job": "name=NAME",
    "verbose": "hydra/job_logging=stdout hydra.verbose=true",
}
"""What to type instead of other keys, by the first part of the key."""

_LOGGING = ("hydra/job_logging=", "hydra/hydra_logging=", "hydra.job_logging", "hydra.hydra_logging")


def is_hydras(word: str) -> bool:
    """Whether an override is a setting of Hydra's own."""
    return word.lstrip("+~").startswith(("hydra.", "hydra/", "hydra@", "hydra="))


def problems(words: Sequence[str]) -> list[tuple[str, str]]:
    """Settings of Hydra's own that would do nothing: each with a line that says so.

    Args:
        words: all overrides of a command line.
    """
    own = [word for word in words if is_hydras(word)]
    bare = [word.lstrip("+~") for word in own]
    other = any(word.startswith("hydra/launcher=") and word != "hydra/launcher=cohort" for word in bare)
    logs = any(word.startswith(_LOGGING) for word in bare)
    found = []
    for word, key in zip(own, (word.partition("=")[0][len("hydra") + 1 :].replace("/", ".") for word in bare), strict=True):
        first = key.partition(".")[0]
        elsewhere = next((known for known in ELSEWHERE if _within(key, known)), "")
        if elsewhere and not other:
            found.append((word, f"{word}: has no effect with dlrun's launcher; type {ELSEWHERE[elsewhere]}"))
        elif elsewhere or any(_within(key, known) for known in EFFECTIVE) or (first == "verbose" and logs):
            continue
        else:
            instead = f"type {INSTEAD[first]}" if first in INSTEAD else f"leave it out{nearest(first, EFFECTIVE)}"
            found.append((word, f"{word}: has no effect; {instead}"))
    return found


def _within(key: str, known: str) -> bool:
    return key == known or key.startswith(f"{known}.")
