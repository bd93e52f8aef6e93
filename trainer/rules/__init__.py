"""Rules: which variables and which groups of weights obey which constraint."""
