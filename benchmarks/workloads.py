"""All workloads by name."""

from benchmarks import inner_loop, sampling

__all__ = ["WORKLOADS"]

WORKLOADS = {**inner_loop.WORKLOADS, **sampling.WORKLOADS}
