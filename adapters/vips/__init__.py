"""The image engine on libvips. The worker imports `engine` only; the rest runs in children."""
