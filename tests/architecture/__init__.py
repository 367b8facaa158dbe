"""The rules of the code, kept by reading it. Each rule is proved by a snippet that breaks it."""
