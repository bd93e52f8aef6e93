"""The process: replicas, signals, errors, a quiet import of TensorFlow."""
