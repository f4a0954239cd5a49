"""The image engine on Pillow. The worker imports `engine` only; the rest runs in children."""
