"""Stages on a Ray cluster: Ray starts processes on nodes, and files move where nodes have no common folder."""
