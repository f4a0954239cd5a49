"""Isolation for image decoders: a child per photo that has given up everything it does not need.

`forkserver` and `child` run inside; `client`, `engine` and `admission` in the worker. A family of
its own, free of any image library: the engines use it, and it uses no other family.
"""
