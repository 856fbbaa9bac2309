"""Run with -m."""
print("package", __name__)
