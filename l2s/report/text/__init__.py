"""What the report says, in English and Chinese: sentences, tables, Markdown, CSV and the terminal."""
