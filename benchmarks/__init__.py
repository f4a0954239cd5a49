"""What the pipeline costs, measured on real servers: `make bench`. A benchmark, not a test."""
