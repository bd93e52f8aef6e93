"""Export: what leaves training. It knows Keras only, so that it works on any model."""
