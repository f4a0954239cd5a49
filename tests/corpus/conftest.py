"""The corpus in full is for `make corpus`; the ordinary run takes a sample."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full-corpus", action="store_true", help="render every file of IMAGE_CORPUS")
