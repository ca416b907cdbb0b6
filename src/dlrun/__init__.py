"""dlrun trains every combination of components at once, and says which is better and how sure one can be.

    import dlrun

    run = dlrun.run("dataset=wine", "activation=gelu", seed=3)
    table = dlrun.sweep("dataset=wine", activation=["relu", "tanh"], seed=range(10))
    dlrun.compare(table)
    dlrun.settle("dataset=wine", activation=["relu", "tanh"], margin=0.01)
    dlrun.load(run.id).predict(X)
    dlrun.ensemble("latest", "activation=relu").predict(X)

Importing it is quick: what these need is imported when one of them is first used.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dlrun.api import compare, ensemble, load, run, settle, sweep
    from dlrun.trained import Ensemble, Run

__version__ = "0.2.0"
__all__ = ["Ensemble", "Run", "__version__", "compare", "ensemble", "load", "run", "settle", "sweep"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'dlrun' has no attribute '{name}'")
    from dlrun import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
