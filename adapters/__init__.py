"""How the ports meet the world, one folder a technology; families never import each other."""
