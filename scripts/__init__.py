"""Tools of this repository: what `make` runs and no process of Atelier imports."""
