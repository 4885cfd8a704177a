"""All workloads by name."""

from benchmarks import inner_loop

__all__ = ["WORKLOADS"]

WORKLOADS = {**inner_loop.WORKLOADS}
