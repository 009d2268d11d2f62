"""embexp: fine-tune an embedding model on your own documents, and prove whether it helped.

    import embexp

    outcome = embexp.run_experiment("experiment=quickstart", "loss=cosent")
    run = embexp.load_run("latest")
    run.search("how do I cap a deque?", k=3)["tuned"]

These calls share their code with the commands. The submodules ``embexp.run``, ``embexp.search`` and so on are
the commands themselves (``python -m embexp.run``).
"""

from embexp.api import Run, SearchResult, compose_config, load_run, run_experiment
from embexp.errors import EmbexpError
from embexp.package import __version__

__all__ = [
    "EmbexpError",
    "Run",
    "SearchResult",
    "__version__",
    "compose_config",
    "load_run",
    "run_experiment",
]
