"""report.html and the figures."""
