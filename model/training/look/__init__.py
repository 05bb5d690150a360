"""Insight into networks: where a network looks, and how its features are distributed."""
