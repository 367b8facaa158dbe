"""Servers that come with the project, or with the system, and run under our own supervisor."""
