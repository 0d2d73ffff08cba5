"""From the files of a run to results.json and the reports that people read."""
