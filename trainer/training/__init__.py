"""Training from Python: a whole run, rules in a loop of one's own, and rules in Keras's `fit`."""
