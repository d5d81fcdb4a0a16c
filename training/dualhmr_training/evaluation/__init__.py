"""How well bodies are recovered where the truth is known, after every step of adaptation."""
