"""What leaves training: files that other programs load, checked by reloading them in a process of their own."""
