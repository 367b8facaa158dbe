"""What measures the product (`make bench`) and what torments it (`make faults`). Not part of it."""
