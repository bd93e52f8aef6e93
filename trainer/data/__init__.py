"""Data sets and batches. `python -m trainer.data NAME` prepares a data set on disk."""
