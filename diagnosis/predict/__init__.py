"""What will go wrong: what an item will do on its first day and in its first week."""
