"""Processes: settings, composition and the loops that run the use cases."""
