"""What was found: statistics, tables in Markdown, plots."""
