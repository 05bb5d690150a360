"""CAKE: online detection of action starts. Importable without the service."""
