"""The paper's tables and figures in miniature: every claim as a command."""
