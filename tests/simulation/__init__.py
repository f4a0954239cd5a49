"""The whole pipeline in one thread, in virtual time, with faults drawn from a seed."""
