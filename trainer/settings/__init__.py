"""From the command line or a file to settings."""
