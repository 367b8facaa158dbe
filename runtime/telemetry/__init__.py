"""Logs, metrics and traces of any process of ours."""
