"""The two processes of a run: `worker` is confined and holds the candidate; `tester` is trusted and holds the tests.

Only the standard library is imported here, and as little of it as possible, because each run starts both. Imports
within this package are relative: the processes see only this folder, as the top-level package `child`.
"""
