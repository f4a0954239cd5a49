"""What the product does, one use case a file; sees only the domain and the ports."""
