"""`make audit`: known vulnerabilities of the pinned packages, and those that are accepted until a date."""
