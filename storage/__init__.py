"""Bytes under keys; knows no product."""
