"""What measures the product (`python -m bench`) and what torments it (`python -m bench.faults`). Not part of it."""
