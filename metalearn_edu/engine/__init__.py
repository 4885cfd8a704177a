"""One network for many tasks: fast parameters, gradients, and losses with a leading task axis."""
