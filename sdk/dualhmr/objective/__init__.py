"""What a good mesh is: losses, their weights, the objective, and its gradient in closed form."""
