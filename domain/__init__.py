"""The product's rules. Knows no HTTP, no broker, no Redis."""
