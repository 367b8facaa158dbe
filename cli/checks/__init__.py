"""What `atelier doctor` looks at: each check says what it found of one part, and what to do."""
