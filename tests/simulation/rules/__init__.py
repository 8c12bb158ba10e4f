"""What must hold of each capability once everything has come to rest: `broken(world)` yields what does not."""
