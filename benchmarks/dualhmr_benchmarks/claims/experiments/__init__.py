"""Trainings and evaluations of the claims, each computed once and kept in a cache."""
