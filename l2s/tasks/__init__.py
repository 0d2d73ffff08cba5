"""The domains of the experiment, one module each; `l2s.tasks.table` lists them."""
