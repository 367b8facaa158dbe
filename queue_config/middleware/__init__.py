"""What is hung around actors: one class per file."""
