"""Kill everything at named and at random places, then look by SQL, files and the receiver's log what became of it."""
