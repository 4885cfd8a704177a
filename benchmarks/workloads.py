"""All workloads by name."""

from benchmarks import embedding, evaluating, importing, inner_loop, recurrent, sampling

__all__ = ["WORKLOADS"]

MODULES = inner_loop, embedding, recurrent, sampling, evaluating, importing
WORKLOADS = {name: race for module in MODULES for name, race in module.WORKLOADS.items()}
