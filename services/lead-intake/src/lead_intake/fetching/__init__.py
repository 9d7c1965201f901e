"""What providers have to be asked for: the leads behind their notifications, and their own lists of leads."""
