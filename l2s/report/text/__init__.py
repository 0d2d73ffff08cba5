"""The text of the reports, in English and Chinese: sentences, tables, Markdown, CSV and console."""
