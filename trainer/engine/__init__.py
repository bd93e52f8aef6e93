"""The training step, the projections and the loop."""
