"""The command."""
def main(): print("hi")
