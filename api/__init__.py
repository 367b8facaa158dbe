"""The HTTP edge: routes, schemas, authentication, problems. Accepts work without Redis."""
