"""All workloads by name."""

from benchmarks import inner_loop, recurrent, sampling

__all__ = ["WORKLOADS"]

WORKLOADS = {**inner_loop.WORKLOADS, **recurrent.WORKLOADS, **sampling.WORKLOADS}
