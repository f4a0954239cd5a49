"""`pipeline doctor`: tries what a client and a worker will do, and says in words what is wrong."""

from entrypoints.tools.doctor.run import run_doctor

__all__ = ["run_doctor"]
