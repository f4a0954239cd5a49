"""The HTTP side: thin calls over the use cases, every answer encoded by msgspec."""
