"""The rules of the pipeline: standard library and `transitions`; no I/O, clock or random."""
