"""One cell of the table under pytest-timeout: a test that runs away. Started by measure.py."""

import pytest
import workloads


@pytest.mark.parametrize("name", workloads.WORKLOADS)
def test(name: str) -> None:
    workloads.WORKLOADS[name]()
