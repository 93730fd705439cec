"""Speed beside other libraries: ``python -m benchmarks``, or ``python -m benchmarks NAME`` for one case."""
