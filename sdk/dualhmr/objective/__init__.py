"""Losses, their weights, the objective they add up to, and its gradient in closed form."""
