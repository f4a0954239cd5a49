"""What an operator or a client does from the command line."""
