"""Engines, which run a model over prompts and answers. `table` lists them; `protocol` says what each can do."""
