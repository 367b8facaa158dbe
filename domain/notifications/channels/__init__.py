"""Ways to reach a person; each keeps the protocol of `base.py`."""
