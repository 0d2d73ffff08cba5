"""The two processes of a run: `worker` is confined and holds the candidate, `tester` is trusted and holds the tests.

Only the standard library is imported here, and as little of it as possible, because a run starts both of them. Imports
within this package are relative: the processes see this folder alone, as the top-level package `child`.
"""
