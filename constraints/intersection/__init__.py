"""The nearest point that several sets share."""
