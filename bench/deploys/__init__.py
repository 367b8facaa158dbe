"""`python -m bench.deploys`: customers go on while releases take each other's place, and while things break."""
