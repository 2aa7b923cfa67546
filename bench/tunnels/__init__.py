"""Tunnels to compare with, each a program of its own, and the client that measures them all."""
