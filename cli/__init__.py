"""Commands of `atelier`; on top of everything else."""
