"""Threads that can be stopped."""
