"""The GLM service as a server on loopback: behind `--endpoint sim`, the tests and the benchmarks.

`validate`, `answers`, `instances`, `faults`, `wire` and `provider_errors` are pure; `service` holds
the state; `server` does the HTTP. Nothing is imported here, so that a command line that only needs
the options stays light.
"""
