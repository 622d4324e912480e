"""The GLM service as a server on loopback: behind `--endpoint sim`, the tests and the benchmarks.

Pure: `validate`, `keys`, `answers`, `instances`, `faults`, `provider_errors`, `wire`, `responses`.
`service` holds the state, `server` does the HTTP, `command` and `foreground` are the command line.
Nothing is imported here, so that a command line that only needs the options stays light.
"""
