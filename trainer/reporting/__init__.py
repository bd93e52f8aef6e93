"""What a run shows: TensorBoard, the console, the certificate."""
