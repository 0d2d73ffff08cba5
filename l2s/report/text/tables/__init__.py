"""The tables of the report, a module for each topic. A table is text already, the same for all formats."""
