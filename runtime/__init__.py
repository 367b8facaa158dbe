"""What any process of ours needs in order to run; imports nothing of ours, no product noun in it."""
