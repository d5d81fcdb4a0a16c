"""The paper's tables and figures, and questions of this project, as data."""
