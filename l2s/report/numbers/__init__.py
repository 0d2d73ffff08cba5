"""The numbers of the report: reads a run folder and computes everything that the report shows."""
