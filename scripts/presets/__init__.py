"""Rules and flags to start from: `--rules=annealed`, `--flagfile=maxnorm_dense`."""
